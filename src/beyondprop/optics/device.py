"""The photonic co-processor: its parts and its limits."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.optics import checks
from beyondprop.optics.bench import Bench
from beyondprop.optics.camera import Camera
from beyondprop.optics.encoder import Encoder, Exact
from beyondprop.optics.medium import Medium
from beyondprop.optics.retrieval import PhaseShifting, Retrieval
from beyondprop.optics.scattering import Scattering
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, Positive


@dataclass(frozen=True)
class Specification:
    """The size, speed and power of a device.

    The defaults are LightOn's specifications: 1140 × 912 mirrors and 1920 × 1080 pixels, a frame in
    500 µs (lightonml 1.4, its simulated device), 30 W.

    Args:
        max_inputs: The number of mirrors.
        max_outputs: The number of camera pixels.
        frame_rate: Shots per second.
        power: Watts of all optics together.
    """

    max_inputs: Count = 1140 * 912
    max_outputs: Count = 1920 * 1080
    frame_rate: Positive = 2000.0
    power: Positive = 30.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class PhotonicProcessor:
    """Encoder, scattering medium, camera and retrieval, in sequence.

    It has no state: its random numbers depend only on the arguments of its methods.

    Args:
        encoder: Encodes rows as patterns of mirrors.
        scattering: The properties of the medium.
        camera: The properties of the camera.
        retrieval: Recovers the field from intensities.
        specification: Sizes, rate and power.
    """

    encoder: Encoder = field(default_factory=Exact)
    scattering: Scattering = field(default_factory=Scattering)
    camera: Camera = field(default_factory=Camera)
    retrieval: Retrieval = field(default_factory=PhaseShifting)
    specification: Specification = field(default_factory=Specification)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def shots(self) -> int:
        """The number of camera shots for the linear projection of a row."""
        return self.encoder.frames * self.retrieval.shots

    def check(self, x: Tensor, outputs: int, pixels: int = 1) -> None:
        """Raise if the device does not support an input or a width.

        Args:
            x: The input, of any shape ``(..., in)``.
            outputs: The number of outputs.
            pixels: The number of pixels for each output.

        Raises:
            UserError: A width is over the limits or zero, or a number is NaN or infinite.
        """
        self.check_widths(x.shape[-1], outputs, pixels)
        if not bool(x.isfinite().all()):
            raise UserError(
                "the input of a photonic co-processor contains NaN or infinite numbers, which its "
                "mirrors cannot show: look for a layer before it that diverged"
            )

    def check_widths(self, inputs: int, outputs: int, pixels: int = 1) -> None:
        """Raise if a width is over the limits, or zero."""
        most = self.specification.max_inputs, self.specification.max_outputs // pixels
        for width, limit, what in zip((inputs, outputs), most, ("inputs", "outputs"), strict=True):
            if not 1 <= width <= limit:
                raise UserError(
                    f"this photonic co-processor has 1 to {limit:,} {what}, not {width:,}: use "
                    "fewer, or a projection without that limit, such as Streamed"
                )

    def linear(self, x: Tensor, medium: Medium, shots: int, noise: torch.Generator) -> Tensor:
        """Return the recovered real linear projection ``(n, out)`` of rows ``(n, in)``.

        Args:
            x: Finite rows, float32 or float64.
            medium: The medium of these widths.
            shots: The number of shots before this call.
            noise: The generator of all noise, on x's device.
        """
        frames, weights = self.encoder.encode(x)  # (n, frames, in), (n, frames)
        bench = self._bench(frames.flatten(0, 1), medium, shots, noise)
        found = self.retrieval.recover(bench).real.view(*weights.shape, medium.outputs)
        return (found * weights.unsqueeze(-1)).sum(1)  # (n, frames, out) -> (n, out)

    def intensities(self, x: Tensor, medium: Medium, shots: int, noise: torch.Generator) -> Tensor:
        """Return the camera's reading of ``|x T|²``, ``(n, out)``, one shot per row; see `linear`.

        Raises:
            UserError: The encoder needs several frames, whose intensities do not add up.
        """
        frames, weights = self.encoder.encode(x)
        if self.encoder.frames != 1:
            raise UserError(
                f"{type(self.encoder).__name__} shows a row in several frames, whose intensities "
                "do not add up: give the device encoder=Binary() or encoder=Exact()"
            )
        bench = self._bench(frames[:, 0], medium, shots, noise)
        return bench.photograph(bench.light()) * weights.square()

    def settings(self) -> dict[str, Any]:
        """Return the parts and their figures, as JSON values."""
        return checks.settings(self)

    def _bench(self, frames: Tensor, medium: Medium, shots: int, noise: torch.Generator) -> Bench:
        mean = 2 / medium.outputs  # E|T|²
        return Bench(
            field=medium.carry(frames, shots),
            power=frames.square().sum(-1, keepdim=True) * mean,
            typical=medium.inputs / 2 * mean,
            medium=medium,
            shots=shots,
            camera=self.camera,
            generator=noise,
            seed=medium.seed,
        )
