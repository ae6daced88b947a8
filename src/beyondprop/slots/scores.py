"""The scores of one tensor of weights, which an optimizer trains instead of the weights."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from beyondprop.slots.kinds import Kind
from beyondprop.slots.source import Source


class WeightScores(ABC):
    """The scores that an optimizer trains instead of one tensor of weights, and their choice.

    Attributes:
        tensor: The tensor that the optimizer updates.
    """

    tensor: Tensor

    @abstractmethod
    def restart(self) -> None:
        """Return to the initial scores."""

    @abstractmethod
    def gradient(self, weight: Tensor) -> Tensor:
        """Return the gradient of `tensor`, from the weights' gradient."""

    @abstractmethod
    def write(self, weights: Tensor) -> None:
        """Write the weights that the scores choose."""

    @abstractmethod
    def draw(self, weights: Tensor) -> None:
        """Write the weights for a forward pass in training mode."""

    @abstractmethod
    def all_scores(self) -> Tensor:
        """Return the score of every fixed value, (planes, *shape)."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""

    @abstractmethod
    def stepped(self, group: dict[str, Any]) -> None:
        """Update other state after a step with the settings of a parameter group."""

    @abstractmethod
    def forget_momentum(self) -> None:
        """Start without momentum, as under a new optimizer."""

    def write_all(self, weights: Tensor) -> None:
        """Write every weight, regardless of the current weights."""
        self.write(weights)


class FullScores(WeightScores):
    """A score for every fixed value of a weight: the plain form, for any kind and any optimizer.

    Args:
        kind: The kind of the weights.
        source: Their fixed values and initial scores.
        like: The weights.

    Attributes:
        tensor: The scores, (planes, *shape).
    """

    def __init__(self, kind: Kind, source: Source, like: Tensor) -> None:
        self.kind, self.source = kind, source
        self.tensor = source.all_scores(like)  # (planes, *shape)
        self._values: Tensor | None = None

    def restart(self) -> None:
        """Return to the initial scores."""
        self.tensor = self.source.all_scores(self.tensor)

    def values(self) -> Tensor:
        """Return the fixed values, (planes, *shape); cached while training, never saved."""
        values, like = self._values, self.tensor
        if values is None or (values.dtype, values.device) != (like.dtype, like.device):
            values = self._values = self.source.all_values(like).contiguous()
        return values

    def gradient(self, weight: Tensor) -> Tensor:
        """Return the scores' gradient, from the weights' gradient.

        ``∂L/∂s_k = ∂L/∂w · W_k`` for every k, chosen or not (Aladago and Torresani 2021, section
        3).
        """
        return weight * self.values()  # (*shape) · (planes, *shape)

    def write(self, weights: Tensor) -> None:
        """Write the weights that the scores choose."""
        weights.copy_(self._pick(self.kind.chosen(self.tensor)))

    def draw(self, weights: Tensor) -> None:
        """Write the weights for a forward pass in training mode."""
        weights.copy_(self._pick(self.kind.drawn(self.tensor)))

    def all_scores(self) -> Tensor:
        """Return the scores, (planes, *shape)."""
        return self.tensor

    def stepped(self, group: dict[str, Any]) -> None:
        """Do nothing, as the optimizer updates every score itself."""

    def forget_momentum(self) -> None:
        """Do nothing, as the optimizer holds the momentum of the scores."""

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"tensor": self.tensor}

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""
        self.tensor = state["tensor"].clone()  # another optimizer may hold it too

    def _pick(self, option: Tensor) -> Tensor:
        options = self.kind.options(self.values())  # (count, *shape)
        return options.gather(0, option.unsqueeze(0)).squeeze(0)  # (*shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_values": None}
