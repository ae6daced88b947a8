"""The camera: what becomes of an intensity until it is a number."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Limits, NotNegative, Positive, Share


@dataclass(frozen=True)
class Camera:
    """A camera sees the intensity ``|y|²``, by whole electrons and whole steps.

    In this order: photoelectrons, shot noise, read noise, hot pixels, saturation, quantisation
    (EMVA Standard 1288, *Standard for Characterization of Image Sensors and Cameras*). As built,
    every effect is off.

    Args:
        photons: Exposure: photoelectrons a pixel collects in a shot where the intensity is the mean
            one of a frame with half of its mirrors on (after quantum efficiency). It sets the scale
            for all that follows.
        shot_noise: Whether photoelectrons come one by one: a Poisson number for each pixel.
        read_noise: Root mean square of the electronics' Gaussian noise, electrons. 0: none.
        full_well: Electrons that a pixel holds: more are lost (saturation), and so is what noise
            brings below zero. None: no limit.
        bits: Of the converter, whose steps divide the full well evenly into ``2^bits - 1``; None:
            it does not round.
        hot: Share of the pixels, 0 to 1, that always read a full well: each one with this
            probability, by its number and the device's seed. 0: none.
    """

    photons: Annotated[float, Limits(0, 1e9, above=True)] = 10_000.0
    shot_noise: bool = False
    read_noise: NotNegative = 0.0
    full_well: Positive | None = None
    bits: Annotated[int, Limits(1, 16)] | None = None
    hot: Share = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.full_well is None and (self.bits is not None or self.hot):
            raise UserError(
                "bits and hot pixels of a camera need a full well, which sets their scale: "
                "give full_well in electrons"
            )

    @property
    def step(self) -> float:
        """Electrons in a step of the converter; 0 where it does not round."""
        if self.bits is None or self.full_well is None:
            return 0.0
        return self.full_well / float(2**self.bits - 1)

    def expose(
        self, intensity: Tensor, typical: float, generator: torch.Generator, seed: int
    ) -> Tensor:
        """Return what the camera reads, in the units of the intensity.

        Args:
            intensity: Shape ``(shots, pixels)``.
            typical: The mean intensity of a frame with half of its mirrors on.
            generator: Draws the noise.
            seed: Of the device: says which pixels are hot.
        """
        electrons = intensity * (self.photons / typical)
        if self.shot_noise:
            electrons = torch.poisson(electrons, generator)
        if self.read_noise:
            noise = torch.empty_like(electrons).normal_(0, self.read_noise, generator=generator)
            electrons = electrons + noise
        if self.full_well is not None:
            where = hot_pixels(electrons.shape[-1], self.hot, seed).to(electrons.device)
            electrons = electrons.index_fill(-1, where, self.full_well).clamp(0, self.full_well)
        if self.step:
            electrons = (electrons / self.step).round() * self.step
        return electrons * (typical / self.photons)


@lru_cache(maxsize=16)
def hot_pixels(pixels: int, share: float, seed: int) -> Tensor:
    """Return which pixels are hot: each by itself, by its number and the seed.

    So the pixels that a narrower block sees are the first of a wider one's.
    """
    if not share:
        return torch.empty(0, dtype=torch.long)
    drawn = np.random.Philox(key=[seed, 0]).random_raw(pixels) >> np.uint64(11)
    return torch.from_numpy(np.flatnonzero(drawn * 2.0**-53 < share))
