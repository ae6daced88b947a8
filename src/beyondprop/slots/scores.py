"""The scores of one tensor of weights: what an optimizer moves in place of the weights."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from beyondprop.slots.kinds import Kind
from beyondprop.slots.source import Source


class WeightScores(ABC):
    """What an optimizer moves in place of one tensor of weights, and the choice that follows.

    Attributes:
        tensor: What the optimizer moves.
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
        """Write the weights that a forward pass in training mode takes."""

    @abstractmethod
    def all_scores(self) -> Tensor:
        """Return the score of every fixed value, (planes, *shape)."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Load what `state` returned."""

    @abstractmethod
    def stepped(self, group: dict[str, Any]) -> None:
        """Follow a step that the optimizer took with the settings of a parameter group."""

    @abstractmethod
    def forget_momentum(self) -> None:
        """Begin without momentum, as a new optimizer does."""

    def write_all(self, weights: Tensor) -> None:
        """Write every weight, whatever the weights were before."""
        self.write(weights)


class FullScores(WeightScores):
    """A score for every fixed value of a weight: the plain form, for any kind and any optimizer.

    Args:
        kind: What the weights are.
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
        """Write the weights that a forward pass in training mode takes."""
        weights.copy_(self._pick(self.kind.drawn(self.tensor)))

    def all_scores(self) -> Tensor:
        """Return the scores, (planes, *shape)."""
        return self.tensor

    def stepped(self, group: dict[str, Any]) -> None:
        """Do nothing: the optimizer moved every score itself."""

    def forget_momentum(self) -> None:
        """Do nothing: the momentum of the scores is the optimizer's."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"tensor": self.tensor}

    def load(self, state: dict[str, Any]) -> None:
        """Load what `state` returned."""
        self.tensor = state["tensor"].clone()  # another optimizer may hold it too

    def _pick(self, option: Tensor) -> Tensor:
        options = self.kind.options(self.values())  # (count, *shape)
        return options.gather(0, option.unsqueeze(0)).squeeze(0)  # (*shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_values": None}
