"""Early stopping on the validation loss, which keeps the best weights."""

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
from beyondprop.errors import UserError
from beyondprop.pieces.diverged import DivergedError


@dataclass
class Stopping:
    """A model's validation losses during training, and its best weights.

    Attributes:
        model: The model.
        data: The validation data.
        loss: Maps (outputs, targets) to a scalar.
        patience: Epochs without a lower loss after which training stops.
        score: Maps the model to a number that is recorded for each epoch in addition to the loss,
            or None.
        losses: The loss of each epoch, infinity if it is not a number.
        scores: The score of each epoch.
    """

    model: nn.Module
    data: Iterable[tuple[Any, Any]]
    loss: Callable[[Any, Any], Tensor]
    patience: int
    score: Callable[[nn.Module], float] | None = None
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    _state: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """The first epoch with the lowest loss."""
        return min(range(len(self.losses)), key=self.losses.__getitem__)

    def over(self) -> bool:
        """Evaluate the model, and return whether its training stops."""
        self.model.eval()
        self.losses.append(validation_loss(self.model, self.data, self.loss))
        if self.score is not None:
            self.scores.append(self.score(self.model))
        self.model.train()
        if self.best == len(self.losses) - 1:
            self._state = copy.deepcopy(self.model.state_dict())
        return len(self.losses) - 1 - self.best >= self.patience

    def restore(self, learning_rate: float, operations: float) -> None:
        """Load the best weights into the model.

        Args:
            learning_rate: The learning rate of the training.
            operations: Floating-point operations of the training.

        Raises:
            DivergedError: The loss was not a number in any epoch, so there is no best epoch.
        """
        if not math.isfinite(self.losses[self.best]):
            raise DivergedError(no_number(learning_rate), operations)
        self.model.load_state_dict(self._state)


def no_number(learning_rate: float, what: str = "loss") -> str:
    """Return the message that a model can't be evaluated."""
    return (
        f"the validation {what} is not a number at learning rate {learning_rate:.3g}: lower the "
        "rate, or check whether the validation data contain numbers that are not finite"
    )


@torch.no_grad()
def validation_loss(
    model: nn.Module, data: Iterable[tuple[Any, Any]], loss: Callable[[Any, Any], Tensor]
) -> float:
    """Return the mean loss over samples, infinity if it is not a number.

    Raises:
        UserError: There are no samples.
    """
    total, count = 0.0, 0
    for inputs, targets in data:
        rows = len(next(leaves(targets)))
        total += rows * loss(call(model, inputs), targets).item()
        count += rows
    if not count:
        raise UserError("the validation data has no samples: give at least one batch")
    found = total / count
    return found if math.isfinite(found) else math.inf
