"""The distribution of the fixed random values, and which connections share them."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from beyondprop.random import slot_words


@dataclass(frozen=True)
class Fan:
    """The number of inputs that one output sums over, and of outputs that one input reaches."""

    into: int
    out: int


def glorot(fan: Fan) -> float:
    """Return the deviation of Glorot's normal distribution (Glorot and Bengio 2010)."""
    return math.sqrt(2 / (fan.into + fan.out))


def kaiming(fan: Fan) -> float:
    """Return the deviation of Kaiming's normal distribution for ReLU (He et al. 2015)."""
    return math.sqrt(2 / fan.into)


class Values(ABC):
    """A distribution of fixed random values, as a function of 32-bit words and a deviation."""

    name: ClassVar[str]

    @abstractmethod
    def deviation(self, fan: Fan) -> float:
        """Return the σ of a layer."""

    def draw(self, words: Tensor, deviation: float) -> Tensor:
        """Return words (int64, below 2^32) as values, float32: uniform in (-σ, σ)."""
        return slot_words.symmetric(words, deviation)


@dataclass(frozen=True)
class GlorotUniform(Values):
    """Uniform in (-σ, σ), where σ is the layer's Glorot deviation, as in the slot machine paper."""

    name: ClassVar[str] = "glorot-uniform"

    def deviation(self, fan: Fan) -> float:
        """Return the σ of a layer."""
        return glorot(fan)


@dataclass(frozen=True)
class WideGlorotUniform(Values):
    """Uniform in (-√3 σ, √3 σ), so that σ is their deviation: as in slot machines' released code.

    λ then also multiplies √3 σ.
    """

    name: ClassVar[str] = "wide-glorot-uniform"

    def deviation(self, fan: Fan) -> float:
        """Return √3 σ, the bound."""
        return math.sqrt(3) * glorot(fan)


@dataclass(frozen=True)
class KaimingUniform(Values):
    """Uniform in (-σ, σ), where σ is Kaiming's deviation: wider, for deep networks with ReLU."""

    name: ClassVar[str] = "kaiming-uniform"

    def deviation(self, fan: Fan) -> float:
        """Return the σ of a layer."""
        return kaiming(fan)


@dataclass(frozen=True)
class KaimingSigns(Values):
    """±Kaiming's σ with equal probability: 'signed Kaiming constant' (Ramanujan et al. 2020)."""

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
    """Which connections have the same values; scores are never shared."""

    name: ClassVar[str]
    common: ClassVar[bool] = False
    """Whether all layers use the mean of their σ."""

    @abstractmethod
    def drawn(self, stream: int, places: Tensor) -> tuple[int, Tensor]:
        """Return the stream and the indices for which values are drawn."""


@dataclass(frozen=True)
class PerConnection(Sharing):
    """Every connection has its own values."""

    name: ClassVar[str] = "connection"

    def drawn(self, stream: int, places: Tensor) -> tuple[int, Tensor]:
        """Return both unchanged."""
        return stream, places


@dataclass(frozen=True)
class PerLayer(Sharing):
    """All connections of a layer have the same values."""

    name: ClassVar[str] = "layer"

    def drawn(self, stream: int, places: Tensor) -> tuple[int, Tensor]:
        """Return the first index for all connections."""
        return stream, places[:1] * 0


@dataclass(frozen=True)
class PerNetwork(Sharing):
    """All connections of the network have the same values; σ is the mean over its layers."""

    name: ClassVar[str] = "network"
    common: ClassVar[bool] = True

    def drawn(self, stream: int, places: Tensor) -> tuple[int, Tensor]:  # noqa: ARG002
        """Return the first index of stream 0 for all connections."""
        return 0, places[:1] * 0


SHARINGS: dict[str, type[Sharing]] = {
    kind.name: kind for kind in (PerConnection, PerLayer, PerNetwork)
}
"""Every sharing by its name in packed files."""
