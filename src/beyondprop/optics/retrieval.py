"""Retrieval: recovers the field behind the medium, of which a camera measures only |y|²."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from beyondprop.optics.bench import Bench
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Limits, NotNegative, Positive, Share


@dataclass(frozen=True)
class Retrieval(ABC):
    """Recovers the complex field from intensities of its interference with a known field."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def shots(self) -> int:
        """The number of camera shots for each frame."""
        return 1

    @property
    def pixels(self) -> int:
        """The number of camera pixels for each output."""
        return 1

    def operations(self, outputs: int) -> float:
        """Return the approximate number of floating-point operations to recover a frame."""
        return 8.0 * self.shots * outputs

    @abstractmethod
    def recover(self, bench: Bench) -> Tensor:
        """Return the recovered field of every frame, complex ``(rows, out)``."""


@final
@dataclass(frozen=True)
class PhaseShifting(Retrieval):
    """Phase-shifting holography: a reference beam whose phase advances evenly from shot to shot.

    ``I_k = |y + r e^{iθ_k}|²``, ``θ_k = 2πk/n``, gives ``y = Σ_k I_k e^{iθ_k} / (n r)``, exactly
    for every n ≥ 3 (Bruning et al. 1974; Yamaguchi and Zhang 1997 with n = 4).

    Args:
        steps: n, 3 or more.
        strength: Intensity of the reference beam, in units of the mean intensity of a frame with
            half of its mirrors on.
        phase_noise: Root mean square error of each shot's phase, in radians; 0 for none.
    """

    steps: Annotated[int, Limits(3, 64)] = 4
    strength: Positive = 1.0
    phase_noise: NotNegative = 0.0

    @property
    def shots(self) -> int:
        """One for each step."""
        return self.steps

    def recover(self, bench: Bench) -> Tensor:
        """Return the field."""
        amplitude = math.sqrt(self.strength * bench.typical)
        total = torch.zeros_like(bench.field)
        for step in range(self.steps):
            angle = 2 * math.pi * step / self.steps
            turned = bench.drawn(bench.power.shape) * self.phase_noise + angle  # (rows, 1)
            reference = torch.polar(torch.full_like(turned, amplitude), turned)
            intensity = bench.photograph(bench.light() + reference)  # (rows, out)
            total += intensity * complex(math.cos(angle), math.sin(angle))
        return total / (self.steps * amplitude)


@final
@dataclass(frozen=True)
class OffAxis(Retrieval):
    """Off-axis holography: one shot, with a tilted reference beam and four pixels per output.

    The tilt is a carrier that separates ``y r*`` from ``|y|²`` in the spectrum, where it is
    filtered out (Leith and Upatnieks 1962; Takeda, Ina and Kobayashi 1982). The outputs are samples
    along a closed line, with four pixels each; the carrier has 3/2 fringes per output. The two
    terms then do not overlap, and without noise the field is exact. A real camera's speckle is
    two-dimensional, and its bandwidth is less sharply limited.

    Args:
        strength: Intensity of the reference beam, in units of the mean intensity of a frame with
            half of its mirrors on.
    """

    strength: Positive = 1.0

    @property
    def pixels(self) -> int:
        """Four, so that the spectra do not overlap."""
        return 4

    def operations(self, outputs: int) -> float:
        """Return the operations of a forward and an inverse Fourier transform."""
        return 5 * (4 * outputs * math.log2(4 * outputs) + outputs * math.log2(2 * outputs))

    def recover(self, bench: Bench) -> Tensor:
        """Return the field."""
        outputs = bench.field.shape[-1]
        amplitude = math.sqrt(self.strength * bench.typical)
        spectrum = torch.fft.fftshift(torch.fft.fft(bench.light()), -1)  # (rows, out)
        # Relative to the reference beam, the field's band is from `outputs` to 2 × `outputs`.
        padded = torch.nn.functional.pad(spectrum, (outputs, 2 * outputs))  # (rows, 4 out)
        intensity = bench.photograph(torch.fft.ifft(padded) * self.pixels + amplitude)
        band = torch.fft.fft(intensity)[..., outputs : 2 * outputs]  # (rows, out)
        found: Tensor = torch.fft.ifft(torch.fft.ifftshift(band, -1))
        return found / (self.pixels * amplitude)


@final
@dataclass(frozen=True)
class Anchors(Retrieval):
    """Reference inputs, shown on mirrors next to the data, instead of a reference beam.

    With ``a_k`` the field of anchor k, ``|y + a_k|² - |y|² - |a_k|² = 2 Re(a_k* y)``; two or more
    anchors give y by least squares at every output. Gupta et al. 2019 use phases relative to an
    anchor's on LightOn's device; Ohana et al. 2023 also combine intensities without a reference
    beam. The anchors' own fields are known from calibration; they drift with the medium.

    Args:
        count: The number of anchors, 2 or more. With few anchors, all of them are dark or in phase
            at some outputs, where noise then dominates.
        strength: Mean intensity of an anchor, in units of that of a frame with half of its mirrors
            on.
        calibration_error: Relative root mean square error of the anchors' known fields (see
            `calibrate` for the error from noise). The device's seed determines it, and it is the
            same in every shot; 0 for none. No value has been published, so any value is an
            assumption.
    """

    count: Annotated[int, Limits(2, 64)] = 4
    strength: Positive = 1.0
    calibration_error: Share = 0.0

    @property
    def shots(self) -> int:
        """One for the data alone, and one for each anchor."""
        return self.count + 1

    def recover(self, bench: Bench) -> Tensor:
        """Return the field."""
        mean = self.strength * bench.typical
        drawn = bench.medium.anchors(self.count, bench.shots, self.calibration_error)
        known, now = (anchors * math.sqrt(mean) for anchors in drawn)  # (count, out) each
        alone = bench.photograph(bench.light())  # (rows, out)
        products = torch.zeros_like(bench.field)
        for calibrated, anchor in zip(known, now, strict=True):
            both = bench.photograph(bench.light(anchor))
            products += calibrated * (both - alone - calibrated.abs().square()) / 2
        # Least squares: s y + q y* = 2 p, with s = Σ|a|², q = Σ a², p = Σ a Re(a* y).
        s, q = known.abs().square().sum(0), known.square().sum(0)  # (out,) each
        return 2 * (s * products - q * products.conj()) / _determinant(known, s)


def _determinant(known: Tensor, s: Tensor) -> Tensor:
    """Return ``s² - |q|²`` as a sum of squares, to avoid cancellation if all are in phase."""
    total = torch.zeros_like(s)
    for j in range(len(known)):
        for k in range(j):
            total += 4 * (known[j].conj() * known[k]).imag.square()
    return total.maximum(torch.finfo(s.dtype).eps ** 2 * s.square())
