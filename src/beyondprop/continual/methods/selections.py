"""A bank of slot machines: each task has its own selection, so nothing is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop import slots
from beyondprop.continual.methods.base import Learner, Learning, Method
from beyondprop.continual.streams import Experience
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count
from beyondprop.slots import Bank
from beyondprop.tasks import call


@dataclass(frozen=True)
class Selections(Method):
    """One network of fixed random values, with a selection of them for each experience.

    If the experience is not given, it is inferred: all selections run, and the one whose softmax
    has the lowest mean entropy is used (Wortsman et al., "Supermasks in superposition", NeurIPS
    2020). The mean is over a number of samples that are known to belong to one experience.

    Args:
        values: Number of fixed values of each weight.
        together: Number of consecutive samples known to belong to one experience; 1 assumes
            nothing.
    """

    name: ClassVar[str] = "slots"
    values: Count = 8
    together: Count = 1

    def __post_init__(self) -> None:
        check_fields(self)

    def prepare(self, model: nn.Module, seed: int) -> None:
        """Make the model a slot machine."""
        slots.convert(model, self.values, seed=seed)

    def start(self, learning: Learning) -> Learner:
        """Return a learner with an empty bank."""
        return SelectingLearner(self, learning, Bank(learning.model))


@dataclass
class SelectingLearner(Learner):
    """See `Selections`.

    Attributes:
        bank: The bank of selections.
    """

    method: Selections
    learning: Learning
    bank: Bank

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.learning.model

    @property
    def bits(self) -> int:
        """Size of all selections."""
        return 8 * sum(self.bank.size(task) for task in self.bank.tasks)

    def begin(self, experience: Experience) -> None:
        """Start a new selection."""
        del experience
        self.bank.restart()

    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Learn the batch."""
        loss = self.learning.loss(self.learning.forward(handle, inputs, targets), targets)
        loss.backward()
        return loss

    def end(self, experience: Experience) -> None:
        """Store the selection."""
        self.bank.keep(experience.name)

    def outputs(self, inputs: Any, experience: Experience | None) -> Tensor:
        """Return the outputs of the experience's selection, or of the one with the lowest
        entropy.
        """
        if not self.bank.tasks:
            return super().outputs(inputs, experience)
        if experience is not None and experience.name in self.bank.tasks:
            self.bank.use(experience.name)
            return super().outputs(inputs, experience)
        found = torch.stack([self._by(task, inputs) for task in self.bank.tasks])
        chosen = self.surest(found)  # (batch,)
        return found[chosen, torch.arange(len(chosen))]

    def _by(self, task: str, inputs: Any) -> Tensor:
        self.bank.use(task)
        out: Tensor = call(self.model, inputs)
        if out.dim() != 2:
            raise UserError("experiences can only be inferred from logits (batch, classes)")
        return out

    def surest(self, outputs: Tensor) -> Tensor:
        """Return the selection to use for each sample: ``(tasks, batch, classes)`` to (batch,)."""
        logs = outputs.log_softmax(-1)
        entropy = -(logs.exp() * logs).sum(-1)  # (tasks, batch)
        groups = entropy.split(self.method.together, 1)
        surest = [group.mean(1).argmin().expand(group.shape[1]) for group in groups]
        return torch.cat(surest)
