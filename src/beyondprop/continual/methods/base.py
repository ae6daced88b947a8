"""The interface of a method: what it does at each step and after each experience."""

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
    """A model that learns a stream, as a method receives it.

    Attributes:
        model: The model.
        loss: (outputs, targets) to the mean over samples.
        batch_size: New samples per step.
        seed: Seed of the method's random draws.
    """

    model: nn.Module
    loss: Loss
    batch_size: int
    seed: int

    def forward(self, handle: Attachment, inputs: Any, targets: Any) -> Any:
        """Return the model's outputs in a training pass of the attached rule."""
        with taught(handle, targets):
            return call(handle.model, inputs)


class Learner(ABC):
    """A method applied to one model.

    The attached rule of `handle` trains the model. Terms that a method adds to the loss at the
    model's output reach the blocks through that rule; terms that it adds to gradients are used
    directly.
    """

    @abstractmethod
    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Add the gradients of a batch to those of the parameters; return the loss, a scalar."""

    def begin(self, experience: Experience) -> None:  # noqa: B027
        """Prepare for an experience."""

    def end(self, experience: Experience) -> None:  # noqa: B027
        """Store what is needed later about an experience that has been learned."""

    def outputs(self, inputs: Any, experience: Experience | None) -> Tensor:
        """Return the model's outputs, in eval mode and without gradients.

        Args:
            inputs: Inputs of a batch.
            experience: The experience of the batch, if the model may know it.
        """
        del experience
        out: Tensor = call(self.model, inputs)
        return out

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The model."""

    @property
    def bits(self) -> int:
        """Size in bits of what is stored in addition to the model."""
        return 0


class Method(ABC):
    """A way to learn tasks one after another. Its fields are its settings."""

    name: ClassVar[str]

    def prepare(self, model: nn.Module, seed: int) -> None:  # noqa: B027
        """Modify a new model before anything is attached to it."""

    @abstractmethod
    def start(self, learning: Learning) -> Learner:
        """Return a learner of the method for a model.

        Raises:
            UserError: The method does not support the model.
        """


def check_weights(name: str, model: nn.Module) -> None:
    """Raise if the model is a slot machine, whose weights do not learn.

    Raises:
        UserError: The model is a slot machine.
    """
    if machine_of(model) is not None:
        raise UserError(
            f"'{name}' keeps weights near earlier ones, but those of a slot machine are fixed: "
            "use 'slots', 'replay', 'dark-replay' or 'no-forgetting'"
        )


def check_logits(name: str, outputs: Any, targets: Any) -> None:
    """Raise unless the outputs are logits of several classes. A softmax of a single number, or with
    real targets, has no meaning, and the method would have no effect.

    Raises:
        UserError: The outputs are not such logits.
    """
    tensors = isinstance(outputs, Tensor) and isinstance(targets, Tensor)
    if not tensors or targets.dtype != torch.int64 or outputs.dim() < 2 or outputs.shape[-1] < 2:
        raise UserError(
            f"'{name}' requires a classification: outputs (batch, ..., classes) of at least two "
            "classes, and class numbers as targets; use 'replay' or 'si'"
        )


def learned(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require gradients, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """Add a gradient to a parameter's `.grad`."""
    if parameter.grad is None:
        parameter.grad = gradient.clone()
    else:
        parameter.grad += gradient
