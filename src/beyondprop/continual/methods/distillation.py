"""Learning without forgetting: the earlier model provides soft targets for what it knew."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.continual.memory import size_of
from beyondprop.continual.methods.base import Learner, Learning, Method, check_logits
from beyondprop.continual.streams import Experience
from beyondprop.engine.attachment import Attachment
from beyondprop.registry import check_fields
from beyondprop.registry.limits import NotNegative, Positive
from beyondprop.tasks import call


@dataclass(frozen=True)
class WithoutForgetting(Method):
    """Li and Hoiem, "Learning without forgetting", ECCV 2016.

    It adds ``strength`` times a cross-entropy to the loss, between the model's outputs for the new
    samples and its outputs for them before the experience, both softened by a temperature (equation
    2, for outputs of earlier classes; for all outputs if experiences share classes). The warm-up of
    the paper, in which only the new head is trained first, is left out, because there is one head.

    Args:
        strength: λ.
        temperature: T.
    """

    name: ClassVar[str] = "no-forgetting"
    strength: NotNegative = 1.0
    temperature: Positive = 2.0

    def __post_init__(self) -> None:
        check_fields(self)

    def start(self, learning: Learning) -> Learner:
        """Return a learner that stores a copy of the model."""
        return DistillingLearner(self, learning)


@dataclass
class DistillingLearner(Learner):
    """See `WithoutForgetting`.

    Attributes:
        earlier: The model at the start of the experience; None in the first one.
        classes: Classes of earlier experiences; empty if all experiences have the same classes.
    """

    method: WithoutForgetting
    learning: Learning
    earlier: nn.Module | None = None
    classes: list[int] = field(default_factory=list)

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.learning.model

    @property
    def bits(self) -> int:
        """Size of the earlier model."""
        return 0 if self.earlier is None else size_of(dict(self.earlier.named_parameters()))

    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Learn the batch and the earlier model's outputs for it."""
        outputs = self.learning.forward(handle, inputs, targets)
        check_logits(self.method.name, outputs, targets)
        loss = self.learning.loss(outputs, targets)
        if self.earlier is not None:
            with torch.no_grad():
                said = call(self.earlier, inputs)
            loss = loss + self.method.strength * self._softened(outputs, said)
        loss.backward()
        return loss

    def _softened(self, outputs: Tensor, said: Tensor) -> Tensor:
        """Return the mean cross-entropy of logits ``(batch, ..., classes)``."""
        if self.classes:
            outputs, said = outputs[..., self.classes], said[..., self.classes]
        heat = self.method.temperature
        logs = (outputs / heat).log_softmax(-1)
        return -((said / heat).softmax(-1) * logs).sum(-1).mean()

    def end(self, experience: Experience) -> None:
        """Store a copy of the model."""
        self.classes += experience.classes
        self.earlier = copy.deepcopy(self.model).eval().requires_grad_(False)
