"""The scores of one tensor of weights: what an optimizer moves in the weights' place."""

from typing import Any

from torch import Tensor

from beyondprop.slots.kinds import Kind
from beyondprop.slots.source import Source


class Scores:
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
        self.tensor = self.start(like)
        self._values: Tensor | None = None

    def start(self, like: Tensor) -> Tensor:
        """Return the initial scores."""
        return self.source.all_scores(like)

    def restart(self) -> None:
        """Take the initial scores again."""
        self.tensor = self.start(self.tensor)

    def values(self) -> Tensor:
        """Return the fixed values, (planes, *shape); kept while training, never saved."""
        kept = self._values
        if kept is None or (kept.dtype, kept.device) != (self.tensor.dtype, self.tensor.device):
            kept = self._values = self.source.all_values(self.tensor).contiguous()
        return kept

    def gradient(self, weight: Tensor) -> Tensor:
        """Return the scores' gradient, of the weights' gradient.

        ``∂L/∂s_k = ∂L/∂w · W_k`` for every k, chosen or not (Aladago and Torresani 2021, section
        3).
        """
        return weight * self.values()

    def stepped(self, group: dict[str, Any]) -> None:
        """Take note that the optimizer has moved the scores, by the settings of a group."""

    def write(self, weights: Tensor) -> None:
        """Write the weights that the scores choose."""
        weights.copy_(self.pick(self.kind.chosen(self.tensor)))

    def write_all(self, weights: Tensor) -> None:
        """Write them whatever the weights were before."""
        self.write(weights)

    def draw(self, weights: Tensor) -> None:
        """Write the weights that a forward pass in training mode takes."""
        weights.copy_(self.pick(self.kind.drawn(self.tensor)))

    def pick(self, option: Tensor) -> Tensor:
        """Return the weights of these options."""
        options = self.kind.options(self.values())
        return options.gather(0, option.unsqueeze(0)).squeeze(0)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"tensor": self.tensor}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.tensor = state["tensor"].clone()  # another optimizer may hold it too

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_values": None}
