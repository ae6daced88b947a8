"""What keeps a model from forgetting, and what is done at each step and behind each experience."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.continual.streams import Experience
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.slots import machine_of
from beyondprop.tasks import call
from beyondprop.tasks.calling import taught

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Learning:
    """A model that learns a stream, as a method sees it.

    Attributes:
        model: That learns.
        loss: (outputs, targets) to the mean over samples.
        batch_size: New samples a step.
        seed: Of what a method draws.
    """

    model: nn.Module
    loss: Loss
    batch_size: int
    seed: int

    def forward(self, handle: Attachment, inputs: Any, targets: Any) -> Any:
        """Return the model's outputs in a pass that its rule is taught by."""
        with taught(handle, targets):
            return call(handle.model, inputs)


class Learner(ABC):
    """A method at work on one model.

    The rule that teaches the model is whichever `handle` is of: what a method adds to the loss at
    the model's output reaches blocks as that rule says, and what it adds to gradients does so as it
    is.
    """

    @abstractmethod
    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Add the gradients of a batch to those of the parameters; return the loss, a scalar."""

    def begin(self, experience: Experience) -> None:  # noqa: B027
        """Prepare for an experience."""

    def end(self, experience: Experience) -> None:  # noqa: B027
        """Keep what must be known of an experience that has been learned."""

    def outputs(self, inputs: Any, experience: Experience | None) -> Tensor:
        """Return the model's outputs, in eval mode and without gradients.

        Args:
            inputs: A batch's.
            experience: That they are of, where this is told.
        """
        del experience
        out: Tensor = call(self.model, inputs)
        return out

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """That learns."""

    @property
    def bits(self) -> int:
        """What is kept besides the model."""
        return 0


class Method(ABC):
    """A way to learn tasks one after another. Its fields are its settings."""

    name: ClassVar[str]

    def prepare(self, model: nn.Module, seed: int) -> None:  # noqa: B027
        """Change a fresh model before anything is attached to it."""

    @abstractmethod
    def start(self, learning: Learning) -> Learner:
        """Return the method at work on a model.

        Raises:
            UserError: The model can't be taught so.
        """


def check_weights(name: str, model: nn.Module) -> None:
    """Refuse a slot machine where weights must learn.

    Raises:
        UserError: The model is one.
    """
    if machine_of(model) is not None:
        raise UserError(
            f"'{name}' holds weights near earlier ones, and those of a slot machine are fixed: "
            "take 'slots', 'replay', 'dark-replay' or 'no-forgetting'"
        )


def check_logits(name: str, outputs: Any, targets: Any) -> None:
    """Refuse outputs that are no logits of several classes: of a single number, or of real targets,
    a softmax says nothing, and the method would do nothing.

    Raises:
        UserError: They are none.
    """
    tensors = isinstance(outputs, Tensor) and isinstance(targets, Tensor)
    if not tensors or targets.dtype != torch.int64 or outputs.dim() < 2 or outputs.shape[-1] < 2:
        raise UserError(
            f"'{name}' is of classes: it needs outputs (batch, ..., classes) of two or more, and "
            "targets that are their numbers; take 'replay' or 'si'"
        )


def learned(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """Add a gradient to that of a parameter."""
    if parameter.grad is None:
        parameter.grad = gradient.clone()
    else:
        parameter.grad += gradient
