"""What a model decides of people whose groups are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from beyondprop.audit.logits import logits_of
from beyondprop.engine.untouched import device_of, untouched
from beyondprop.errors import UserError
from beyondprop.tasks import Samples
from beyondprop.tasks.samples import moved

BATCH = 1000
"""Samples that a model sees at a time."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """One favourable class against all others, for people of several groups.

    Attributes:
        truth: Whether each is in the favourable class, ``(n,)`` bool.
        selected: Whether the model says so, ``(n,)`` bool.
        probability: That the model gives the favourable class, ``(n,)`` float from 0 to 1.
        group: The number of each one's group, ``(n,)`` whole numbers from 0.
        names: Of the groups.

    Raises:
        UserError: There is nobody, they are not as many of each, a probability is none, or a group
            has no name.
    """

    truth: NDArray[np.bool_]
    selected: NDArray[np.bool_]
    probability: NDArray[np.float64]
    group: NDArray[np.int64]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes = {each.shape for each in (self.truth, self.selected, self.probability, self.group)}
        if len(sizes) > 1 or not len(self.truth):
            raise UserError(f"decisions need arrays of one size (n,), not {sorted(sizes)}")
        if not ((self.probability >= 0) & (self.probability <= 1)).all():
            raise UserError("a probability lies from 0 to 1, and one of the model's does not")
        if self.group.min() < 0 or self.group.max() >= len(self.names):
            raise UserError(
                f"groups run from {self.group.min()} to {self.group.max()}, and there are "
                f"{len(self.names)} names of groups"
            )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many people each group has, ``(groups,)``."""
        return np.bincount(self.group, minlength=len(self.names))

    def of_groups(self, kept: Sequence[int]) -> Decisions:
        """Return the people of these groups alone, which are numbered anew."""
        places = np.full(len(self.names), -1)
        places[list(kept)] = np.arange(len(kept))
        rows = places[self.group] >= 0
        return Decisions(
            truth=self.truth[rows],
            selected=self.selected[rows],
            probability=self.probability[rows],
            group=places[self.group[rows]],
            names=tuple(self.names[each] for each in kept),
        )


def decisions_of(
    outputs: Tensor, targets: Tensor, favourable: int, group: Tensor, names: Sequence[str]
) -> Decisions:
    """Return what a classifier's outputs decide.

    Args:
        outputs: Logits of each class, ``(n, classes)``. The class of the largest is the decision.
        targets: True classes, ``(n,)``.
        favourable: The class that is good for a person; all others are taken together.
        group: Number of each one's group, ``(n,)``.
        names: Of the groups.

    Raises:
        UserError: The outputs are no logits of two classes or more, or not all finite.
    """
    if outputs.dim() != 2 or outputs.shape[1] < 2:
        raise UserError(
            f"fairness needs logits (n, classes), not outputs of shape {tuple(outputs.shape)}"
        )
    if not outputs.isfinite().all():
        raise UserError("the model's outputs are not all finite, so it makes no decisions")
    logits = outputs.detach().double().cpu()  # (n, classes)
    return Decisions(
        truth=(targets.cpu() == favourable).numpy(),
        selected=(logits.argmax(1) == favourable).numpy(),
        probability=logits.softmax(1)[:, favourable].numpy().clip(0.0, 1.0),
        group=group.cpu().numpy().astype(np.int64),
        names=tuple(names),
    )


def answers(model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor]:
    """Return a model's logits ``(n, classes)`` and the targets of all samples, on the CPU.

    Raises:
        UserError: The targets are no classes, or the outputs no finite logits.
    """
    logits: list[Tensor] = []
    targets: list[Tensor] = []
    device = device_of(model, samples.device)
    with untouched(model), torch.no_grad():
        model.eval()
        for batch in samples.batches(BATCH):
            inputs, wanted = moved(batch, device)
            if not isinstance(wanted, Tensor) or wanted.dtype != torch.int64 or wanted.dim() != 1:
                raise UserError("fairness needs classes as targets, (n,) int64")
            logits.append(logits_of(model, inputs))
            targets.append(wanted)
    return torch.cat(logits).cpu(), torch.cat(targets).cpu()
