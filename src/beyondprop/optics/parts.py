"""Parts by name, and how one is built again from its settings."""

from collections.abc import Mapping
from typing import Any

from ..errors import UserError
from .camera import Camera
from .device import PhotonicProcessor, Specification
from .encoder import Binary, BitPlanes, Exact, Ternary, UnevenTernary
from .retrieval import Anchors, OffAxis, PhaseShifting
from .scattering import Scattering

ENCODERS = Exact, Binary, Ternary, UnevenTernary, BitPlanes
RETRIEVALS = PhaseShifting, OffAxis, Anchors
PARTS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (*ENCODERS, *RETRIEVALS, Scattering, Camera, Specification, PhotonicProcessor)
}


def build(settings: Mapping[str, Any]) -> Any:
    """Return the part, or the whole device, that has these settings.

    Raises:
        UserError: A part is unknown or has no such figure.
    """
    values = dict(settings)
    name = values.pop("part", None)
    if name not in PARTS:
        raise UserError(f"{name!r} is no part of a photonic co-processor: {', '.join(PARTS)} are")
    figures = {k: build(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    try:
        return PARTS[name](**figures)
    except TypeError as error:
        known = ", ".join(PARTS[name].__dataclass_fields__) or "no figures"
        raise UserError(f"{name} takes {known}, not {', '.join(figures)}") from error
