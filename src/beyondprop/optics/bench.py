"""The bench: one batch of frames in the light, and operations on it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.optics.camera import Camera
from beyondprop.optics.medium import Medium


@dataclass
class Bench:
    """The fields of frames behind the medium, and the camera that records them.

    Attributes:
        field: The field of each frame behind the medium, complex ``(rows, out)``.
        power: The mean intensity of each frame's field, ``(rows, 1)``.
        typical: The mean intensity of a frame with half of its mirrors on.
        medium: The medium that scatters the light.
        shots: The number of shots before this batch.
        camera: The camera.
        generator: Draws all noise.
        seed: The seed of the device.
    """

    field: Tensor
    power: Tensor
    typical: float
    medium: Medium
    shots: int
    camera: Camera
    generator: torch.Generator
    seed: int

    def light(self, beside: Tensor | None = None) -> Tensor:
        """Return the field in the next shot, optionally with the field of additional inputs."""
        field = self.field if beside is None else self.field + beside
        share = self.medium.scattering.instability
        if not share:
            return field
        power = self.power if beside is None else self.power + beside.abs().square().mean()
        stray = torch.complex(self.drawn(field.shape), self.drawn(field.shape)) * (power / 2).sqrt()
        return math.sqrt(1 - share) * field + math.sqrt(share) * stray

    def photograph(self, field: Tensor) -> Tensor:
        """Return the camera's reading of a field, in the field's units squared."""
        intensity = field.real.square() + field.imag.square()
        return self.camera.expose(intensity, self.typical, self.generator, self.seed)

    def drawn(self, shape: torch.Size) -> Tensor:
        """Return independent standard normal numbers."""
        return torch.empty(shape, dtype=self.power.dtype, device=self.power.device).normal_(
            generator=self.generator
        )
