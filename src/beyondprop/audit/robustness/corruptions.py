"""Common corruptions: damage to inputs without an adversary.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", 2019. All work in units of the features' ranges, and stay within them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from beyondprop.audit.robustness.ranges import Ranges


class Corruption(ABC):
    """A kind of corruption.

    Attributes:
        name: Name as tables show it.
        strengths: Three strengths, each worse than the one before.
        unit: Unit of the strength.
    """

    name: ClassVar[str]
    strengths: ClassVar[tuple[float, ...]]
    unit: ClassVar[str]

    @abstractmethod
    def corrupted(
        self, units: Tensor, strength: float, ranges: Ranges, generator: Generator
    ) -> Tensor:
        """Return corrupted inputs, ``(n, ...)`` in [0, 1].

        Args:
            units: ``(n, ...)`` in [0, 1].
            strength: See `unit`.
            ranges: Ranges of the features.
            generator: Generator for random draws, on the CPU.
        """


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Normal noise on every pixel; ImageNet-C's severities 1, 3 and 5."""

    name: ClassVar[str] = "Gaussian noise"
    strengths: ClassVar[tuple[float, ...]] = (0.08, 0.18, 0.38)
    unit: ClassVar[str] = "standard deviation, share of the range"

    def corrupted(
        self,
        units: Tensor,
        strength: float,
        ranges: Ranges,  # noqa: ARG002
        generator: Generator,
    ) -> Tensor:
        """Return images with noise."""
        return (units + strength * _normal(units, generator)).clamp(0, 1)


@dataclass(frozen=True)
class Blur(Corruption):
    """A Gaussian blur; its width grows with the image's."""

    name: ClassVar[str] = "blur"
    strengths: ClassVar[tuple[float, ...]] = (1 / 64, 1 / 32, 1 / 16)
    unit: ClassVar[str] = "standard deviation, share of the shorter side"

    def corrupted(
        self,
        units: Tensor,
        strength: float,
        ranges: Ranges,  # noqa: ARG002
        generator: Generator,  # noqa: ARG002
    ) -> Tensor:
        """Return blurred images."""
        from scipy.ndimage import gaussian_filter

        width = strength * min(units.shape[2:])
        blurred = gaussian_filter(units.cpu().numpy(), (0, 0, width, width), mode="nearest")
        return torch.from_numpy(blurred).to(units).clamp(0, 1)


@dataclass(frozen=True)
class Contrast(Corruption):
    """Reduced contrast around the mean of each channel; ImageNet-C's severities 1, 3 and 5."""

    name: ClassVar[str] = "contrast"
    strengths: ClassVar[tuple[float, ...]] = (0.4, 0.2, 0.05)
    unit: ClassVar[str] = "share of the contrast that is left"

    def corrupted(
        self,
        units: Tensor,
        strength: float,
        ranges: Ranges,  # noqa: ARG002
        generator: Generator,  # noqa: ARG002
    ) -> Tensor:
        """Return images that are closer to their mean."""
        mean = units.mean((2, 3), keepdim=True)  # (n, channels, 1, 1)
        return (mean + strength * (units - mean)).clamp(0, 1)


@dataclass(frozen=True)
class Jpeg(Corruption):
    """JPEG compression, by Pillow; ImageNet-C's severities 1, 3 and 5. Pixels get 8 bits."""

    name: ClassVar[str] = "JPEG"
    strengths: ClassVar[tuple[float, ...]] = (25, 15, 7)
    unit: ClassVar[str] = "quality"

    def corrupted(
        self,
        units: Tensor,
        strength: float,
        ranges: Ranges,  # noqa: ARG002
        generator: Generator,  # noqa: ARG002
    ) -> Tensor:
        """Return images after JPEG compression; images with 3 channels are compressed as
        colours.
        """
        pixels = (units * 255).round().to(torch.uint8).cpu()  # (n, channels, height, width)
        coloured = pixels.shape[1] == 3
        # (n, height, width, 3), or (n x channels, height, width)
        images = pixels.permute(0, 2, 3, 1) if coloured else pixels.flatten(0, 1)
        made = [_compressed(each, int(strength)) for each in images.numpy()]
        found = torch.from_numpy(np.stack(made))
        back = found.permute(0, 3, 1, 2) if coloured else found.view_as(pixels)
        return back.to(units) / 255


@dataclass(frozen=True)
class Noise(Corruption):
    """Normal noise on every column of a table."""

    name: ClassVar[str] = "noise"
    strengths: ClassVar[tuple[float, ...]] = (0.1, 0.3, 1.0)
    unit: ClassVar[str] = "standard deviations of the column"

    def corrupted(
        self, units: Tensor, strength: float, ranges: Ranges, generator: Generator
    ) -> Tensor:
        """Return rows with noise."""
        noise = strength * ranges.std * _normal(units, generator)
        return ranges.units(ranges.inputs(units) + noise)


@dataclass(frozen=True)
class Dropout(Corruption):
    """Single values are replaced by the mean of their column."""

    name: ClassVar[str] = "feature dropout"
    strengths: ClassVar[tuple[float, ...]] = (0.1, 0.3, 0.5)
    unit: ClassVar[str] = "share of the values"

    def corrupted(
        self, units: Tensor, strength: float, ranges: Ranges, generator: Generator
    ) -> Tensor:
        """Return rows with some values replaced."""
        lost = torch.rand(units.shape, generator=generator).to(units.device) < strength
        return torch.where(lost, ranges.units(ranges.mean), units)


OF_IMAGES = (GaussianNoise(), Blur(), Contrast(), Jpeg())
"""Corruptions of images."""
OF_TABLES = (Noise(), Dropout())
"""Corruptions of the columns of a table."""


def corruptions_of(inputs: Tensor) -> Sequence[Corruption]:
    """Return the corruptions that suit the inputs; images are ``(n, channels, height, width)``."""
    return OF_IMAGES if inputs.dim() == 4 else OF_TABLES


def corrupted(
    inputs: Tensor, corruption: Corruption, strength: float, ranges: Ranges, seed: int = 0
) -> Tensor:
    """Return corrupted inputs in the model's units, within the ranges.

    Args:
        inputs: ``(n, ...)``.
        corruption: The kind of corruption.
        strength: Its strength; `Corruption.strengths` has the usual ones.
        ranges: Ranges of the features in the training data.
        seed: Seed of random draws.
    """
    generator = Generator().manual_seed(seed)
    return ranges.inputs(corruption.corrupted(ranges.units(inputs), strength, ranges, generator))


def _normal(units: Tensor, generator: Generator) -> Tensor:
    return torch.randn(units.shape, generator=generator, dtype=units.dtype).to(units.device)


def _compressed(pixels: NDArray[Any], quality: int) -> NDArray[Any]:
    """Return pixels ``(height, width)`` or ``(height, width, 3)`` after JPEG compression."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))
