"""Where the fixed random values come from: their distribution, and who shares them."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from beyondprop.random import slot_words


@dataclass(frozen=True)
class Fan:
    """How many inputs one output of a layer sums over, and how many outputs one input reaches."""

    into: int
    out: int


def glorot(fan: Fan) -> float:
    """Return the deviation of Glorot's normal distribution (Glorot and Bengio 2010)."""
    return math.sqrt(2 / (fan.into + fan.out))


def kaiming(fan: Fan) -> float:
    """Return the deviation of Kaiming's normal distribution for ReLU (He et al. 2015)."""
    return math.sqrt(2 / fan.into)


class Values(ABC):
    """A distribution of fixed random values; a function of 32-bit words and of a deviation."""

    name: ClassVar[str]

    @abstractmethod
    def deviation(self, fan: Fan) -> float:
        """Return the σ of a layer."""

    def draw(self, words: Tensor, deviation: float) -> Tensor:
        """Return words (int64, below 2^32) as values, float32: uniform in (-σ, σ)."""
        return slot_words.symmetric(words, deviation)


@dataclass(frozen=True)
class GlorotUniform(Values):
    """Uniform in (-σ, σ), σ Glorot's deviation of the layer: as the paper on slot machines has
    it."""

    name: ClassVar[str] = "glorot-uniform"

    def deviation(self, fan: Fan) -> float:
        """Return the σ of a layer."""
        return glorot(fan)


@dataclass(frozen=True)
class WideGlorotUniform(Values):
    """Uniform in (-√3 σ, √3 σ), so that σ is their deviation: slot machines' released code.

    What λ multiplies is √3 σ too.
    """

    name: ClassVar[str] = "wide-glorot-uniform"

    def deviation(self, fan: Fan) -> float:
        """Return √3 σ, the bound."""
        return math.sqrt(3) * glorot(fan)


@dataclass(frozen=True)
class KaimingUniform(Values):
    """Uniform in (-σ, σ), σ Kaiming's deviation: wider values, for deep networks with ReLU."""

    name: ClassVar[str] = "kaiming-uniform"

    def deviation(self, fan: Fan) -> float:
        """Return the σ of a layer."""
        return kaiming(fan)


@dataclass(frozen=True)
class KaimingSigns(Values):
    """±σ with equal odds, σ Kaiming's deviation: 'signed Kaiming constant' (Ramanujan et al.
    2020)."""

    name: ClassVar[str] = "kaiming-signs"

    def deviation(self, fan: Fan) -> float:
        """Return the σ of a layer."""
        return kaiming(fan)

    def draw(self, words: Tensor, deviation: float) -> Tensor:
        """Return words as +σ where their highest bit is set, and -σ elsewhere."""
        return ((words >> 31) * 2 - 1).float() * slot_words.float32(deviation)


VALUES: dict[str, type[Values]] = {
    kind.name: kind for kind in (GlorotUniform, WideGlorotUniform, KaimingUniform, KaimingSigns)
}
"""Every distribution by its name in packed files."""


class Sharing(ABC):
    """Who has the same values; scores are never shared."""

    name: ClassVar[str]
    common: ClassVar[bool] = False
    """Whether all layers have one σ, the mean of theirs."""

    @abstractmethod
    def drawn(self, stream: int, places: Tensor) -> tuple[int, Tensor]:
        """Return the stream and the places that values are drawn for."""


@dataclass(frozen=True)
class PerConnection(Sharing):
    """Every connection has its own values."""

    name: ClassVar[str] = "connection"

    def drawn(self, stream: int, places: Tensor) -> tuple[int, Tensor]:
        """Return both as they are."""
        return stream, places


@dataclass(frozen=True)
class PerLayer(Sharing):
    """All connections of a layer have the same values."""

    name: ClassVar[str] = "layer"

    def drawn(self, stream: int, places: Tensor) -> tuple[int, Tensor]:
        """Return the first place for all."""
        return stream, places[:1] * 0


@dataclass(frozen=True)
class PerNetwork(Sharing):
    """All connections of the network have the same values; σ is the mean over its layers."""

    name: ClassVar[str] = "network"
    common: ClassVar[bool] = True

    def drawn(self, stream: int, places: Tensor) -> tuple[int, Tensor]:  # noqa: ARG002
        """Return the first place of stream 0 for all."""
        return 0, places[:1] * 0


SHARINGS: dict[str, type[Sharing]] = {
    kind.name: kind for kind in (PerConnection, PerLayer, PerNetwork)
}
"""Every sharing by its name in packed files."""
