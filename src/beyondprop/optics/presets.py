"""Whole devices: one without a fault, and one after LightOn's."""

from typing import cast

from beyondprop.errors import check_type
from beyondprop.optics.camera import Camera
from beyondprop.optics.device import PhotonicProcessor
from beyondprop.optics.encoder import Ternary
from beyondprop.optics.retrieval import Anchors
from beyondprop.optics.scattering import Scattering


def ideal() -> PhotonicProcessor:
    """Return a device without a fault: any real amplitude, a perfect camera, four-step holography.

    Its projection is the ideal matrix's, to rounding.
    """
    return PhotonicProcessor()


def lighton_opu() -> PhotonicProcessor:
    """Return a device after LightOn's optical processing unit.

    From LightOn: sizes, rate, power, 8 bits, binary mirrors; ternary errors from its paper (arXiv
    2006.01475); a linear mode that takes five times as long as the intensity (lightonml's
    documentation, of 1.4). How that one works in detail it does not say; four anchors take five
    shots. Assumed, and no more than the
    order of magnitude of common industrial CMOS cameras: photons, read noise, full well and hot
    pixels; and of the medium: lifetime and instability.
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
    "ideal": "a device without a fault, whose projection is the ideal matrix's, to rounding",
    "lighton-opu": "a device after LightOn's optical processing unit, partly assumed",
}
"""What the presets are, for lists."""


def processor(device: object) -> PhotonicProcessor:
    """Return a device, given as it is or by the name of its preset.

    Raises:
        UserError: It is neither.
    """
    if isinstance(device, str) and device in PRESETS:
        return PRESETS[device]()
    names = " or ".join(map(repr, PRESETS))
    check_type("the device", device, PhotonicProcessor, f"one, such as lighton_opu(), or {names}")
    return cast("PhotonicProcessor", device)
