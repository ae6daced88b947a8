"""The camera: converts intensities to numbers."""

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
    """A camera measures the intensity ``|y|²``, with noise and in discrete steps.

    Effects apply in this order: photoelectrons, shot noise, read noise, hot pixels, saturation,
    quantisation (EMVA Standard 1288, *Standard for Characterization of Image Sensors and Cameras*).
    By default, every effect is off.

    Args:
        photons: Exposure: photoelectrons that a pixel collects in a shot at the mean intensity of a
            frame with half of its mirrors on (after quantum efficiency). It sets the scale of all
            other effects.
        shot_noise: Whether photoelectrons are discrete: a Poisson number for each pixel.
        read_noise: Root mean square of the electronics' Gaussian noise, in electrons; 0 for none.
        full_well: Electrons that a pixel holds; a reading is clipped to this limit (saturation),
            and to zero from below. None for no limit.
        bits: Bits of the converter, whose steps divide the full well evenly into ``2^bits - 1``;
            None for no rounding.
        hot: Share of the pixels, 0 to 1, that always read a full well: each pixel with this
            probability, determined by its number and the device's seed. 0 for none.
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
        """Electrons in a step of the converter; 0 if it does not round."""
        if self.bits is None or self.full_well is None:
            return 0.0
        return self.full_well / float(2**self.bits - 1)

    def expose(
        self, intensity: Tensor, typical: float, generator: torch.Generator, seed: int
    ) -> Tensor:
        """Return the camera's reading, in the units of the intensity.

        Args:
            intensity: The intensity, ``(shots, pixels)``.
            typical: The mean intensity of a frame with half of its mirrors on.
            generator: Draws the noise.
            seed: The seed of the device, which determines the hot pixels.
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
    """Return the indices of hot pixels, each drawn independently from its number and the seed.

    The hot pixels of a narrower block are therefore the first hot pixels of a wider one.
    """
    if not share:
        return torch.empty(0, dtype=torch.long)
    drawn = np.random.Philox(key=[seed, 0]).random_raw(pixels) >> np.uint64(11)
    return torch.from_numpy(np.flatnonzero(drawn * 2.0**-53 < share))
