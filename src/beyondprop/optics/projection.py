"""The photonic co-processor as a projection, for every rule that uses one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.errors import UserError
from beyondprop.optics.checks import whole
from beyondprop.optics.device import PhotonicProcessor
from beyondprop.optics.medium import Medium
from beyondprop.optics.presets import lighton_opu, processor
from beyondprop.projections.cached import Shareable
from beyondprop.random.streams import stream_of
from beyondprop.registry import check_fields


@dataclass
class Clock:
    """Counts the shots of a device, which determine noise and drift.

    Attributes:
        shots: The number of shots so far. Set it to continue another run.
    """

    shots: int = 0


@final
@dataclass(frozen=True)
class PhotonicProjection(Shareable):
    """A simulated photonic co-processor: encoded, scattered, photographed and recovered.

    The linear map is Gaussian, like that of `Dense` (with other numbers); the result differs from
    it through the effects of the device's parts. A run is reproducible: all noise is a function of
    the seed, the stream and the number of earlier shots. Copies and pickles start at shot 0, with
    the same medium.

    Cost of the simulation: ``2 × frames × in_features × out_features`` multiply-adds per row, and
    two stored numbers for each entry of the matrix, up to `medium.DENSE` entries; larger matrices
    are drawn by tiles in every product. A medium that drifts takes this twice within its first
    lifetime, and once more for each lifetime that has passed, up to twelve.

    Args:
        seed: Whole number that, with the stream, determines the medium, hot pixels and noise.
        shared: One medium for all blocks, each of which uses the first of its outputs (one device
            serves all layers, as in Launay et al. 2020); otherwise one per block.
        device: The device; see `ideal` and `lighton_opu`, or the name of a preset: "lighton-opu".
    """

    name: ClassVar[str] = "photonic"
    shared: bool = True
    device: PhotonicProcessor = field(default_factory=lighton_opu)
    clock: Clock = field(default_factory=Clock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        whole("a seed", self.seed, 0, 2**63 - 1)
        object.__setattr__(self, "device", processor(self.device))
        check_fields(self)

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the matrix of an ideal device (see `Projection.matrix`): T's real part."""
        self.device.check_widths(in_features, out_features, self.device.retrieval.pixels)
        exact = torch.promote_types(like.dtype, torch.float32)
        key = in_features, out_features, stream, exact, like.device
        return self._cached(self._ideal, *key).to(like.dtype)

    @eager
    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``, by light.

        A row with NaN or an infinite number, which no mirror can show, gives NaN, as in an
        electronic product: a gradient scaler then detects an overflow and skips the step.

        Raises:
            UserError: x requires a gradient, a width is over the device's limits, or x does not
                hold floating-point numbers.
        """
        if not x.is_floating_point():
            raise UserError(
                f"PhotonicProjection carries floating-point numbers, not {x.dtype}: use x.float()"
            )
        if torch.is_grad_enabled() and x.requires_grad:
            raise UserError(
                "no gradient passes back through a photonic co-processor: detach the input, or "
                "multiply by the ideal map, matrix(...)"
            )
        self.device.check_widths(x.shape[-1], out_features, self.device.retrieval.pixels)
        rows = self.rows(x)  # (rows, in)
        lost = ~rows.isfinite().all(1, keepdim=True)  # (rows, 1)
        rows = rows.masked_fill(lost, 0)  # the device shows darkness instead
        medium = self.medium(rows, out_features, stream)
        noise = self.noise(rows, stream)
        with torch.autocast(x.device.type, enabled=False):
            found = self.device.linear(rows, medium, self.clock.shots, noise)  # (rows, out)
        self.clock.shots += len(rows) * self.device.shots
        return found.masked_fill(lost, float("nan")).to(x.dtype).view(*x.shape[:-1], out_features)

    def rows(self, x: Tensor) -> Tensor:
        """Return x as a matrix in float32, or in float64 if x has that dtype."""
        return x.reshape(-1, x.shape[-1]).to(torch.promote_types(x.dtype, torch.float32))

    def medium(self, like: Tensor, out_features: int, stream: int) -> Medium:
        """Return the medium for rows with this width, dtype and device."""
        key = like.shape[-1], out_features, like.dtype, like.device
        return self._medium(key[0], key[1], stream, key[2], key[3])

    def noise(self, like: Tensor, stream: int) -> torch.Generator:
        """Return the generator of all noise at the clock's current shot."""
        number = stream_of(f"{self.seed}, {stream}, {self.clock.shots}")
        return torch.Generator(like.device).manual_seed(number)

    @property
    def counter(self) -> int:
        """The number of shots so far."""
        return self.clock.shots

    def resume(self, counter: int) -> None:
        """Continue after this many shots."""
        self.clock.shots = counter

    def remarks(self) -> Iterator[str]:
        """Yield a remark if only the ideal matrix was used so far, without light."""
        if not self.clock.shots and any(isinstance(each, Tensor) for each in self._drawn.values()):
            yield (
                "is the ideal matrix of the photonic device, without encoding and noise; "
                "this rule does not project by light, but DirectFeedbackAlignment does"
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings that build the same projection again, as JSON values."""
        return {**super().settings(), "device": self.device.settings()}

    def _medium(
        self, inputs: int, outputs: int, stream: int, dtype: torch.dtype, device: torch.device
    ) -> Medium:
        key = self.device.scattering, self.seed, stream, inputs, outputs, dtype, device
        return self._cached(Medium, *key)

    @eager
    def _ideal(
        self, inputs: int, outputs: int, stream: int, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        return self._medium(inputs, outputs, stream, dtype, device).matrix().real.contiguous()
