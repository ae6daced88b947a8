"""Calibration: a device's matrix, measured by its own noisy shots."""

import copy
import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.errors import UserError
from beyondprop.optics.checks import whole
from beyondprop.optics.projection import PhotonicProjection
from beyondprop.projections.cached import Cached
from beyondprop.projections.hadamard import transform
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Limits

ROWS = 256
"""Patterns that are shown as one batch, during which the medium stands still."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """A measured matrix, and how far it can be trusted.

    Attributes:
        matrix: The real map as measured, ``(in, out)``.
        error: Root mean square of what noise leaves in it, relative to the matrix, by the spread of
            the repeats. It falls as ``1 / sqrt(repeats)``. What is the same in each of them does
            not show in it: saturation, hot pixels, and anchors that are known badly.
        shots: That it took.
    """

    matrix: Tensor
    error: float
    shots: int

    def correlation(self, later: "Calibration") -> float:
        """Return how like a later one is: 1 for a medium that stood still, 0 for another one.

        What noise alone would take from it is given back, by the errors of both.

        Raises:
            UserError: Noise hides one of the matrices.
        """
        if not (math.isfinite(self.error) and math.isfinite(later.error)):
            raise UserError(
                "noise hides the matrix that was measured: take more repeats, or more photons"
            )
        first, second = self.matrix.double(), later.matrix.double()
        cosine = float((first * second).sum() / (first.norm() * second.norm()))
        return cosine * math.sqrt((1 + self.error**2) * (1 + later.error**2))


@torch.no_grad()
def calibrate(
    projection: PhotonicProjection,
    in_features: int,
    out_features: int,
    stream: int,
    like: Tensor,
    repeats: int = 4,
) -> Calibration:
    """Measure a device's matrix, by showing it the rows of a Hadamard matrix (Popoff et al. 2010).

    Each row ``h_k`` of signs lights every mirror once, in one of two frames, where a one-hot input
    lights a single one; so the same shots bring about as many times more light on each entry as
    there are inputs. ``Σ_k h_k (h_kᵀ T) / n = T`` is a fast transform. With ``n`` the power of two
    that holds the inputs, a repeat takes n rows, of ``projection.device.shots`` shots each.

    Args:
        projection: The device; its clock counts the shots, and its medium drifts meanwhile. The
            encoder must show signs, as all do but `Binary`.
        in_features: Width of the input.
        out_features: Width of the output.
        stream: Which medium: ``projection.stream(block)``.
        like: A tensor of the device and the floating dtype to return.
        repeats: How often, 2 or more, so that the error can be told from their spread.

    Raises:
        UserError: A width is over the device's limits, the encoder cannot show signs, or there are
            too few repeats.
    """
    whole("the repeats of a calibration", repeats, 2, 2**20)
    projection.device.check_widths(in_features, out_features, projection.device.retrieval.pixels)
    exact = like.new_empty(0, dtype=torch.promote_types(like.dtype, torch.float32))
    begun, total, squares = projection.clock.shots, exact.new_zeros(in_features, out_features), 0.0
    for _ in range(repeats):
        with torch.autocast(like.device.type, enabled=False):
            found = _measured(projection, in_features, out_features, stream, exact)
        total += found
        squares += float(found.double().square().sum())
    mean = total / repeats
    power = float(mean.double().square().sum())
    noise = max(0.0, squares / repeats - power) / (repeats - 1)
    error = math.sqrt(noise / (power - noise)) if power > noise else math.inf
    return Calibration(mean.to(like.dtype), error, projection.clock.shots - begun)


def _measured(
    projection: PhotonicProjection, inputs: int, outputs: int, stream: int, like: Tensor
) -> Tensor:
    """Return the matrix as found by showing each pattern once."""
    count = 1 << (inputs - 1).bit_length()
    seen = like.new_empty(count, outputs)
    for first in range(0, count, ROWS):
        rows = range(first, min(first + ROWS, count))
        one_hot = like.new_zeros(len(rows), count)
        one_hot[range(len(rows)), rows] = 1
        patterns = transform(one_hot)[:, :inputs]  # (rows, in)
        seen[rows.start : rows.stop] = projection.project(patterns, outputs, stream)
    return transform(seen.t().contiguous()).t()[:inputs] / count  # (in, out)


@final
@dataclass(frozen=True)
class Calibrated(Cached):
    """A photonic co-processor whose ``matrix`` is the measured one, for rules that ask for it.

    It is measured by `calibrate` when it is first asked for, and kept. Projections go by light. To
    measure it a copy of the device begins at shot 0, so that a run which is taken up again finds
    the same matrix; those shots are not on the device's clock.

    Args:
        optics: The device.
        repeats: Of the calibration.
    """

    name: ClassVar[str] = "calibrated"
    seed: int = field(default=0, init=False, repr=False)  # all randomness is the device's
    optics: PhotonicProjection = field(default_factory=PhotonicProjection)
    repeats: Annotated[int, Limits(2, 2**20)] = 4

    def __post_init__(self) -> None:
        check_fields(self)

    def stream(self, block: int) -> int:
        """Return the device's stream of a block."""
        return self.optics.stream(block)

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the map as measured (see `Projection.matrix`)."""
        return self._cached(
            self._measure, in_features, out_features, stream, like.dtype, like.device
        )

    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to ``(..., out_features)``, by light."""
        return self.optics.project(x, out_features, stream)

    @eager
    def _measure(
        self, inputs: int, outputs: int, stream: int, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        like = torch.empty(0, dtype=dtype, device=device)
        return calibrate(copy.copy(self.optics), inputs, outputs, stream, like, self.repeats).matrix
