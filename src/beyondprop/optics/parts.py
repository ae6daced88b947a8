"""Parts by name, and how to build them from their settings."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from beyondprop.errors import UserError
from beyondprop.optics.calibration import Calibrated
from beyondprop.optics.camera import Camera
from beyondprop.optics.device import PhotonicProcessor, Specification
from beyondprop.optics.encoder import (
    Binary,
    BitPlanes,
    Encoder,
    Exact,
    Ternary,
    UnevenTernary,
)
from beyondprop.optics.presets import LINES, OPU, PRESETS
from beyondprop.optics.projection import PhotonicProjection
from beyondprop.optics.retrieval import Anchors, OffAxis, PhaseShifting, Retrieval
from beyondprop.optics.scattering import Scattering
from beyondprop.registry import Registry

ENCODERS = Exact, Binary, Ternary, UnevenTernary, BitPlanes
RETRIEVALS = PhaseShifting, OffAxis, Anchors
PARTS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (*ENCODERS, *RETRIEVALS, Scattering, Camera, Specification, PhotonicProcessor)
}


def of_opu(name: str) -> str:
    """Return a hint for the device name of `beyondprop project`; empty for other names."""
    others = ", ".join([*PRESETS, PhotonicProcessor.__name__])
    return f"did you mean 'lighton-opu'? There are {others}" if name == OPU else ""


PROCESSORS: Registry[PhotonicProcessor] = Registry(
    "photonic device",
    PhotonicProcessor,
    {name: preset() for name, preset in PRESETS.items()} | {"PhotonicProcessor": PhotonicProcessor},
    key="part",
    parts=[
        Registry(kind, base, {each.__name__: each for each in parts}, key="part")
        for kind, base, parts in (
            ("encoder", Encoder, ENCODERS),
            ("retrieval", Retrieval, RETRIEVALS),
            ("scattering", Scattering, (Scattering,)),
            ("camera", Camera, (Camera,)),
            ("specification", Specification, (Specification,)),
        )
    ],
    lines=LINES,
    advice=of_opu,
)
"""Complete devices and presets by name, for the argument of optical projections."""

KINDS = {**PARTS, **{kind.name: kind for kind in (PhotonicProjection, Calibrated)}}


def build(settings: Mapping[str, Any]) -> Any:
    """Return the part, the device or the projection with these settings.

    Raises:
        UserError: A part is unknown, has no such figure, or a figure is out of its range.
    """
    values = dict(settings)
    name = values.pop("part", None) or values.pop("name", None)
    kind = KINDS.get(name)
    if kind is None:
        raise UserError(
            f"{name!r} is not a part of a photonic co-processor; the parts are {', '.join(KINDS)}"
        )
    known = [figure.name for figure in fields(kind) if figure.init]
    unknown = [figure for figure in values if figure not in known]
    if unknown:
        takes = ", ".join(known) or "no figures"
        raise UserError(f"{kind.__name__} takes {takes}, not {', '.join(unknown)}")
    figures = {k: build(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    try:
        return kind(**figures)
    except TypeError as error:
        raise UserError(f"{kind.__name__} cannot be built from {figures}: {error}") from error
