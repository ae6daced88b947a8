"""All K scores of a greedy slot machine in one number a weight."""

from typing import Any

import torch
from torch import Tensor

from beyondprop.slots import staircase
from beyondprop.slots.kinds import Greedy, Kind, Reels
from beyondprop.slots.scores import WeightScores
from beyondprop.slots.source import Source


class Accumulator(WeightScores):
    """The scores of a greedy slot machine under SGD, as ``s_k = c s_k(0) + W_k a``.

    The values are fixed, so each score's gradient is ``g W_k``, and every step of SGD, with
    momentum, Nesterov's too, dampening and weight decay, is linear in gradients and scores. By
    induction over steps all K scores of a weight are then lines over one number ``a``, which SGD
    trains as if it were the weight, beginning at 0; ``c``, which starts at 1, is the fraction of
    the initial scores that remains under weight decay. The chosen value is the slope of the highest
    line at ``a``: a staircase that only rises.

    Args:
        source: The fixed values and initial scores.
        like: The weights.

    Attributes:
        tensor: a, of the weights' shape.
        decay: c.
    """

    def __init__(self, source: Source, like: Tensor) -> None:
        self.source = source
        self.tensor = _zeros(like)  # (*shape)
        self.decay = 1.0
        self._velocity: float | None = None
        self._steps = staircase.make(source)

    def restart(self) -> None:
        """Return to the initial scores."""
        self.tensor = _zeros(self.tensor)
        self.decay, self._velocity = 1.0, None
        self._forget_weights()

    def gradient(self, weight: Tensor) -> Tensor:
        """Return the weights' gradient itself."""
        return weight

    def stepped(self, group: dict[str, Any]) -> None:
        """Let weight decay shrink ``c`` as it shrinks scores: a step of SGD without a gradient."""
        step = group["weight_decay"] * self.decay
        if group["momentum"]:
            before: float | None = self._velocity
            fresh = 1 - group["dampening"]
            velocity = step if before is None else group["momentum"] * before + fresh * step
            step = step + group["momentum"] * velocity if group["nesterov"] else velocity
            self._velocity = velocity
        self.decay -= float(group["lr"]) * step

    def forget_momentum(self) -> None:
        """Begin without momentum, as a new optimizer does."""
        self._velocity = None

    def write(self, weights: Tensor) -> None:
        """Write the value of the highest line at each ``a``."""
        self._steps.write(self.tensor, self.decay, weights)

    def write_all(self, weights: Tensor) -> None:
        """Write every weight, whatever the weights were before."""
        self._forget_weights()
        self.write(weights)

    def draw(self, weights: Tensor) -> None:
        """Write the same: a greedy machine draws nothing."""
        self.write(weights)

    def all_scores(self) -> Tensor:
        """Return the K scores, (K, *shape)."""
        initial = self.source.all_scores(self.tensor)  # (K, *shape)
        return self.decay * initial + self.tensor * self.source.all_values(self.tensor)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"tensor": self.tensor, "decay": self.decay, "velocity": self._velocity}

    def load(self, state: dict[str, Any]) -> None:
        """Load what `state` returned."""
        self.tensor = state["tensor"].clone()  # another optimizer may hold it too
        self.decay, self._velocity = state["decay"], state["velocity"]
        self._forget_weights()

    def _forget_weights(self) -> None:
        """Let the next `write` write every weight."""
        self._steps.forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_steps": staircase.make(self.source)}


def one_number_suffices(kind: Kind, optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an `Accumulator` learns what `FullScores` learn under this optimizer."""
    # Fused SGD may leave a step out by itself, where gradients are not finite.
    linear = type(optimizer) is torch.optim.SGD and not any(
        group["fused"] for group in optimizer.param_groups
    )
    return linear and isinstance(kind, Reels) and isinstance(kind.selection, Greedy)


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like, memory_format=torch.contiguous_format, requires_grad=False)
