"""Replay methods: some earlier samples are stored and learned again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.continual.memory import Reservoir
from beyondprop.continual.methods.base import Learner, Learning, Method
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, NotNegative


@dataclass(frozen=True)
class Replay(Method):
    """Experience replay: each batch is learned together with an equal number of stored samples.

    Rolnick et al., "Experience replay for continual learning", NeurIPS 2019. The stored samples are
    a random subset of all seen samples (reservoir), as in Chaudhry et al., "On tiny episodic
    memories in continual learning", 2019.

    Args:
        size: Number of stored samples.
    """

    name: ClassVar[str] = "replay"
    size: Count = 500

    def __post_init__(self) -> None:
        check_fields(self)

    def start(self, learning: Learning) -> Learner:
        """Return a learner with an empty memory."""
        return ReplayLearner(learning, memory_of(self.size, learning))


def memory_of(size: int, learning: Learning) -> Reservoir:
    """Return an empty memory."""
    return Reservoir(size, torch.Generator().manual_seed(learning.seed))


@dataclass
class ReplayLearner(Learner):
    """See `Replay`.

    Attributes:
        memory: Stored inputs and targets.
    """

    learning: Learning
    memory: Reservoir

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.learning.model

    @property
    def bits(self) -> int:
        """Size of the stored samples."""
        return self.memory.bits

    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Learn the batch and an equal number of stored samples in one pass, then offer it to the
        memory.
        """
        check_tensors(inputs, targets)
        every, wanted = inputs, targets
        if len(self.memory):
            old = self.memory.draw(len(targets))
            every = torch.cat([inputs, old["inputs"]])
            wanted = torch.cat([targets, old["targets"]])
        loss = self.learning.loss(self.learning.forward(handle, every, wanted), wanted)
        loss.backward()
        self.memory.add(inputs=inputs, targets=targets)
        return loss


@dataclass(frozen=True)
class DarkReplay(Method):
    """DER++: stored samples are learned again by their labels and by the model's earlier logits.

    Buzzega et al., "Dark experience for general continual learning", NeurIPS 2020, equation 6 and
    algorithm 2. It adds to the loss ``alpha ‖z' - h(x')‖²`` (the mean over outputs, as in released
    code) and ``beta`` times the loss of ``(x'', y'')``, for two independent draws; the logits ``z``
    are those of the step in which a sample was stored. New and stored samples run in one pass: in a
    batch norm they share statistics, whereas released code uses three passes.

    Args:
        size: Number of stored samples.
        alpha: Weight of the logits.
        beta: Weight of the labels; 0 is plain DER.
    """

    name: ClassVar[str] = "dark-replay"
    size: Count = 500
    alpha: NotNegative = 0.3
    beta: NotNegative = 0.5

    def __post_init__(self) -> None:
        check_fields(self)

    def start(self, learning: Learning) -> Learner:
        """Return a learner with an empty memory."""
        return DarkLearner(self, learning, memory_of(self.size, learning))


@dataclass
class DarkLearner(Learner):
    """See `DarkReplay`.

    Attributes:
        memory: Stored inputs, targets and logits.
    """

    method: DarkReplay
    learning: Learning
    memory: Reservoir

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.learning.model

    @property
    def bits(self) -> int:
        """Size of the stored samples and logits."""
        return self.memory.bits

    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Learn the batch and two draws of stored samples, then offer it to the memory."""
        check_tensors(inputs, targets)
        drawn = [self.memory.draw(len(targets)) for _ in range(2) if len(self.memory)]
        every = torch.cat([inputs, *(each["inputs"] for each in drawn)])
        wanted = torch.cat([targets, *(each["targets"] for each in drawn)])
        outputs = self.learning.forward(handle, every, wanted)
        sizes = [len(targets), *(len(each["targets"]) for each in drawn)]
        new, *old = outputs.split(sizes)
        loss = self.learning.loss(new, targets)
        if drawn:
            (first, second), (dark, labelled) = drawn, old
            loss = loss + self.method.alpha * (dark - first["logits"]).square().mean()
            loss = loss + self.method.beta * self.learning.loss(labelled, second["targets"])
        loss.backward()
        self.memory.add(inputs=inputs, targets=targets, logits=new.detach())
        return loss


def check_tensors(inputs: Any, targets: Any) -> None:
    """Raise if the inputs or targets of a batch are several tensors.

    Raises:
        UserError: They are several tensors.
    """
    if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)):
        raise UserError("a memory needs inputs and targets that are one tensor each")
