"""All K scores of a greedy slot machine, represented by one number for each weight."""

from typing import Any

import torch
from torch import Tensor

from beyondprop.slots import staircase
from beyondprop.slots.kinds import Greedy, Kind, Reels
from beyondprop.slots.scores import WeightScores
from beyondprop.slots.source import Source


class Accumulator(WeightScores):
    """The scores of a greedy slot machine under SGD, as ``s_k = c s_k(0) + W_k a``.

    The values are fixed, so each score's gradient is ``g W_k``, and every step of SGD, including
    momentum (also Nesterov's), dampening and weight decay, is linear in gradients and scores. By
    induction over steps, all K scores of a weight are then lines over one number ``a``, which
    starts at 0 and which SGD trains like a weight; ``c``, which starts at 1, is the fraction of the
    initial scores that remains under weight decay. The chosen value is the slope of the highest
    line at ``a``: a monotonically increasing staircase.

    Args:
        source: The fixed values and initial scores.
        like: The weights.

    Attributes:
        tensor: ``a``, with the weights' shape.
        decay: ``c``.
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
        """Apply weight decay to ``c`` as to the scores: a step of SGD without a gradient."""
        step = group["weight_decay"] * self.decay
        if group["momentum"]:
            before: float | None = self._velocity
            fresh = 1 - group["dampening"]
            velocity = step if before is None else group["momentum"] * before + fresh * step
            step = step + group["momentum"] * velocity if group["nesterov"] else velocity
            self._velocity = velocity
        self.decay -= float(group["lr"]) * step

    def forget_momentum(self) -> None:
        """Start without momentum, as under a new optimizer."""
        self._velocity = None

    def write(self, weights: Tensor) -> None:
        """Write the value of the highest line at each ``a``."""
        self._steps.write(self.tensor, self.decay, weights)

    def write_all(self, weights: Tensor) -> None:
        """Write every weight, regardless of the current weights."""
        self._forget_weights()
        self.write(weights)

    def draw(self, weights: Tensor) -> None:
        """Write the same weights, as a greedy machine draws nothing."""
        self.write(weights)

    def all_scores(self) -> Tensor:
        """Return the K scores, (K, *shape)."""
        initial = self.source.all_scores(self.tensor)  # (K, *shape)
        return self.decay * initial + self.tensor * self.source.all_values(self.tensor)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"tensor": self.tensor, "decay": self.decay, "velocity": self._velocity}

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""
        self.tensor = state["tensor"].clone()  # another optimizer may hold it too
        self.decay, self._velocity = state["decay"], state["velocity"]
        self._forget_weights()

    def _forget_weights(self) -> None:
        """Make the next `write` write every weight."""
        self._steps.forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_steps": staircase.make(self.source)}


def one_number_suffices(kind: Kind, optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an `Accumulator` learns the same as `FullScores` under this optimizer."""
    # Fused SGD may skip a step internally if gradients are not finite.
    linear = type(optimizer) is torch.optim.SGD and not any(
        group["fused"] for group in optimizer.param_groups
    )
    return linear and isinstance(kind, Reels) and isinstance(kind.selection, Greedy)


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like, memory_format=torch.contiguous_format, requires_grad=False)
