"""A bank of slot machines: each task has a selection of its own, and nothing is forgotten."""

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
    """One network of fixed random values, and for each experience a selection of them.

    If the experience is not given, it is inferred: every selection runs, and the one whose softmax
    has the lowest mean entropy answers (Wortsman et al., "Supermasks in superposition", NeurIPS
    2020), over as many samples at a time as are known to be of one experience.

    Args:
        values: Fixed values of each weight.
        together: Samples of one experience at a time, by which it is inferred; 1 knows nothing.
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
        bank: Of the selections.
    """

    method: Selections
    learning: Learning
    bank: Bank

    @property
    def model(self) -> nn.Module:
        """That learns."""
        return self.learning.model

    @property
    def bits(self) -> int:
        """Of all selections."""
        return 8 * sum(self.bank.size(task) for task in self.bank.tasks)

    def begin(self, experience: Experience) -> None:
        """Begin a new selection."""
        del experience
        self.bank.restart()

    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Learn the batch."""
        loss = self.learning.loss(self.learning.forward(handle, inputs, targets), targets)
        loss.backward()
        return loss

    def end(self, experience: Experience) -> None:
        """Keep the selection."""
        self.bank.keep(experience.name)

    def outputs(self, inputs: Any, experience: Experience | None) -> Tensor:
        """Return the outputs of the experience's selection, or of the one that is surest."""
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
            raise UserError("experiences are inferred by logits (batch, classes) alone")
        return out

    def surest(self, outputs: Tensor) -> Tensor:
        """Return which selection answers each sample: ``(tasks, batch, classes)`` to (batch,)."""
        logs = outputs.log_softmax(-1)
        entropy = -(logs.exp() * logs).sum(-1)  # (tasks, batch)
        groups = entropy.split(self.method.together, 1)
        surest = [group.mean(1).argmin().expand(group.shape[1]) for group in groups]
        return torch.cat(surest)
