"""Calibration: a device's matrix, measured with its own noisy shots."""

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
"""Patterns that are shown in one batch, during which the medium does not drift."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """A measured matrix, and its error.

    Attributes:
        matrix: The measured real map, ``(in, out)``.
        error: The root mean square of the noise in the matrix, relative to the matrix, estimated
            from the spread of the repeats. It falls as ``1 / sqrt(repeats)``. It does not include
            errors that are the same in each repeat: saturation, hot pixels, and errors in the known
            fields of anchors.
        shots: The number of shots used.
    """

    matrix: Tensor
    error: float
    shots: int

    def correlation(self, later: "Calibration") -> float:
        """Return the correlation with a later calibration: 1 for a stable medium, 0 for another.

        The errors of both are used to correct for the correlation that noise removes.

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
    """Measure a device's matrix by showing it the rows of a Hadamard matrix (Popoff et al. 2010).

    Each row ``h_k`` of signs lights every mirror once, in one of two frames, whereas a one-hot
    input lights a single mirror. So with the same number of shots, the light on each entry
    increases by a factor of about the number of inputs. ``Σ_k h_k (h_kᵀ T) / n = T`` is a fast
    transform. With ``n`` the smallest power of two that holds the inputs, a repeat takes n rows of
    ``projection.device.shots`` shots each.

    Args:
        projection: The device; its clock counts the shots, and its medium drifts during the
            calibration. The encoder must show signs, as all except `Binary` do.
        in_features: Width of the input.
        out_features: Width of the output.
        stream: The stream of the medium: ``projection.stream(block)``.
        like: A tensor with the device and the floating dtype to return.
        repeats: The number of repeats, 2 or more, whose spread gives the error.

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
    """Return the matrix measured by showing each pattern once."""
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
    """A photonic co-processor whose ``matrix`` is the measured one, for rules that need a matrix.

    `calibrate` measures the matrix at its first use, and the result is cached. Projections use
    light. The measurement uses a copy of the device that starts at shot 0, so that a resumed run
    gets the same matrix; its shots do not count on the device's clock.

    Args:
        optics: The device.
        repeats: The number of repeats in the calibration.
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
        """Return the measured map (see `Projection.matrix`)."""
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
