"""All K scores of a greedy slot machine in one number a weight."""

from typing import Any

import torch
from torch import Tensor

from beyondprop.slots import staircase
from beyondprop.slots.kinds import Kind, Reels
from beyondprop.slots.scores import Scores
from beyondprop.slots.selection import Greedy
from beyondprop.slots.source import Source


class Accumulator(Scores):
    """The scores of a greedy slot machine under SGD, as ``s_k = c s_k(0) + W_k a``.

    The values are fixed, so each score's gradient is ``g W_k``, and every step of SGD, with
    momentum, Nesterov's too, dampening and weight decay, is linear in gradients and scores. By
    induction over steps all K scores of a weight are then lines over one number ``a``, which SGD
    trains as if it were the weight, beginning at 0; ``c``, which begins at 1, is what weight decay
    leaves of the initial scores. The chosen value is the slope of the highest line at ``a``: a
    staircase that only rises.

    Attributes:
        tensor: a, of the weights' shape.
        kept: c.
    """

    def __init__(self, kind: Kind, source: Source, like: Tensor) -> None:
        super().__init__(kind, source, like)
        self.kept = 1.0
        self._velocity: float | None = None
        self._steps = staircase.make(source)

    def start(self, like: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(like, memory_format=torch.contiguous_format, requires_grad=False)

    def restart(self) -> None:
        """Take the initial scores again."""
        super().restart()
        self.kept, self._velocity = 1.0, None
        self._forget()

    def _forget(self) -> None:
        """Have the next weights be written whatever they were."""
        self._steps = type(self._steps)(self.source)

    def rest(self) -> None:
        """Begin without momentum, as a new optimizer does."""
        self._velocity = None

    def gradient(self, weight: Tensor) -> Tensor:
        """Return the weights' gradient itself."""
        return weight

    def stepped(self, group: dict[str, Any]) -> None:
        """Have weight decay shrink ``c`` as it shrinks scores: a step of SGD without gradient."""
        step = group["weight_decay"] * self.kept
        if group["momentum"]:
            before: float | None = self._velocity
            fresh = 1 - group["dampening"]
            velocity = step if before is None else group["momentum"] * before + fresh * step
            step = step + group["momentum"] * velocity if group["nesterov"] else velocity
            self._velocity = velocity
        self.kept -= float(group["lr"]) * step

    def write(self, weights: Tensor) -> None:
        """Write the value of the highest line at each ``a``."""
        self._steps.write(self.tensor, self.kept, weights)

    def write_all(self, weights: Tensor) -> None:
        """Write them whatever the weights were before."""
        self._forget()
        self.write(weights)

    def draw(self, weights: Tensor) -> None:
        """Write the same: a greedy machine draws nothing."""
        self.write(weights)

    def all_scores(self) -> Tensor:
        """Return the K scores, (K, *shape)."""
        initial = self.source.all_scores(self.tensor)
        return self.kept * initial + self.tensor * self.source.all_values(self.tensor)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return super().state() | {"kept": self.kept, "velocity": self._velocity}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        super().load(state)
        self.kept, self._velocity = state["kept"], state["velocity"]
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_steps": staircase.make(self.source)}


def fits(kind: object, optimizer: object) -> bool:
    """Whether one number a weight does for all K scores."""
    # Its fused form may leave a step out by itself, for gradients that are not finite.
    linear = type(optimizer) is torch.optim.SGD and not any(
        group["fused"] for group in optimizer.param_groups
    )
    return linear and isinstance(kind, Reels) and isinstance(kind.selection, Greedy)
