"""Training ends where the validation loss no longer falls, and the best weights are kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.calling import call
from beyondprop._torch.pytrees import leaves


@dataclass
class Stopping:
    """A model's validation losses as it is trained, and its best weights.

    Attributes:
        model: That is trained.
        data: Of validation.
        loss: (outputs, targets) to a scalar.
        patience: Epochs without a lower loss, behind which training ends.
        losses: Of each epoch.
    """

    model: nn.Module
    data: Iterable[tuple[Any, Any]]
    loss: Callable[[Any, Any], Tensor]
    patience: int
    losses: list[float] = field(default_factory=list)
    _state: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """The epoch with the least loss, the first one of several."""
        return min(range(len(self.losses)), key=self.losses.__getitem__)

    def over(self) -> bool:
        """Judge the model, and return whether its training ends."""
        self.model.eval()
        self.losses.append(validation_loss(self.model, self.data, self.loss))
        self.model.train()
        if self.best == len(self.losses) - 1:
            self._state = copy.deepcopy(self.model.state_dict())
        return len(self.losses) - 1 - self.best >= self.patience

    def restore(self) -> None:
        """Give the model its best weights."""
        self.model.load_state_dict(self._state)


@torch.no_grad()
def validation_loss(
    model: nn.Module, data: Iterable[tuple[Any, Any]], loss: Callable[[Any, Any], Tensor]
) -> float:
    """Return the mean loss of samples, infinity where it is no number."""
    total, count = 0.0, 0
    for inputs, targets in data:
        rows = len(next(leaves(targets)))
        total += rows * loss(call(model, inputs), targets).item()
        count += rows
    found = total / count
    return found if math.isfinite(found) else math.inf
