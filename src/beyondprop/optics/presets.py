"""Complete devices: an ideal one, and one modelled on LightOn's."""

from typing import cast

from beyondprop.errors import UserError, check_type, shown
from beyondprop.optics.camera import Camera
from beyondprop.optics.device import PhotonicProcessor
from beyondprop.optics.encoder import Ternary
from beyondprop.optics.retrieval import Anchors
from beyondprop.optics.scattering import Scattering
from beyondprop.text import suggested


def ideal() -> PhotonicProcessor:
    """Return an ideal device: any real amplitude, a perfect camera, four-step holography.

    Its projection equals that of the ideal matrix, up to rounding.
    """
    return PhotonicProcessor()


def lighton_opu() -> PhotonicProcessor:
    """Return a device modelled on LightOn's optical processing unit.

    From LightOn: sizes, rate, power, 8 bits, binary mirrors; ternary errors from its paper (arXiv
    2006.01475); a linear mode that takes five times as long as the intensity (documentation of
    lightonml 1.4). That documentation does not describe how the linear mode works; four anchors
    take five shots. Photons, read noise, full well and hot pixels are assumed, with the order of
    magnitude of common industrial CMOS cameras; so are the medium's lifetime and instability.
    """
    return PhotonicProcessor(
        encoder=Ternary(),
        scattering=Scattering(lifetime=1e7, instability=1e-3),
        camera=Camera(
            photons=1000.0, shot_noise=True, read_noise=8.0, full_well=10_000.0, bits=8, hot=1e-4
        ),
        retrieval=Anchors(),
    )


PRESETS = {"ideal": ideal, "lighton-opu": lighton_opu}
LINES = {
    "ideal": "an ideal device, whose projection equals the ideal matrix's up to rounding",
    "lighton-opu": "a device modelled on LightOn's optical processing unit, partly assumed",
}
"""Descriptions of the presets, for lists."""
OPU = "opu"
"""Name of the preset modelled on LightOn's device in `beyondprop project`."""
NAMED = {**PRESETS, "PhotonicProcessor": PhotonicProcessor}
"""Names that specify a device."""


def meant(name: str) -> str:
    """Return "; did you mean ...?" with the closest device; empty if none is close."""
    return suggested(name, {each: each for each in NAMED} | {OPU: "lighton-opu"})


def processor(device: object) -> PhotonicProcessor:
    """Return a device, given directly or by the name of a preset.

    Raises:
        UserError: The argument is neither a device nor the name of a preset.
    """
    if isinstance(device, str) and device in NAMED:
        return NAMED[device]()
    wanted = f"one, such as lighton_opu(), or {' or '.join(map(repr, PRESETS))}"
    if isinstance(device, str):
        raise UserError(f"the device must be {wanted}, not {shown(device)}{meant(device)}")
    check_type("the device", device, PhotonicProcessor, wanted)
    return cast("PhotonicProcessor", device)
