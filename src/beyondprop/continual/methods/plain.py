"""Training without any method against forgetting: the lower control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from beyondprop.continual.methods.base import Learner, Learning, Method
from beyondprop.engine.attachment import Attachment


@dataclass(frozen=True)
class Plain(Method):
    """Learns each experience as if there were no others: the floor."""

    name: ClassVar[str] = "plain"

    def start(self, learning: Learning) -> Learner:
        """Return a learner without memory."""
        return PlainLearner(learning)


@dataclass(frozen=True)
class PlainLearner(Learner):
    """See `Plain`."""

    learning: Learning

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.learning.model

    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Learn only the batch."""
        loss = self.learning.loss(self.learning.forward(handle, inputs, targets), targets)
        loss.backward()
        return loss
