"""A model's decisions about people whose groups are known."""

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
"""Samples per batch."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions between one favourable class and all others, for people of several groups.

    Attributes:
        truth: Whether each person is in the favourable class, ``(n,)`` bool.
        selected: Whether the model predicts the favourable class, ``(n,)`` bool.
        probability: The model's probability of the favourable class, ``(n,)`` float from 0 to 1.
        group: Group number of each person, ``(n,)`` whole numbers from 0.
        names: Names of the groups.

    Raises:
        UserError: There are no people, the arrays differ in size, a probability is out of range, or
            a group has no name.
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
            raise UserError("probabilities must be between 0 and 1")
        if self.group.min() < 0 or self.group.max() >= len(self.names):
            raise UserError(
                f"groups run from {self.group.min()} to {self.group.max()}, but there are "
                f"{len(self.names)} names of groups"
            )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of people in each group, ``(groups,)``."""
        return np.bincount(self.group, minlength=len(self.names))

    def of_groups(self, kept: Sequence[int]) -> Decisions:
        """Return the people of these groups only, with the groups renumbered."""
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
    """Return the decisions that a classifier's outputs imply.

    Args:
        outputs: Logits, ``(n, classes)``. The decision is the class with the largest logit.
        targets: True classes, ``(n,)``.
        favourable: The class that is good for a person; all others count as one class.
        group: Group number of each person, ``(n,)``.
        names: Names of the groups.

    Raises:
        UserError: The outputs are not logits of at least two classes, or not all finite.
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
        UserError: The targets are not classes, or the outputs are not finite logits.
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
