"""What a block may lower by itself: objectives of `LocalLoss`, and the plainest of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.core import At
from beyondprop.errors import UserError
from beyondprop.registry import check_fields, settings
from beyondprop.registry.limits import Count
from beyondprop.rules.local.auxiliary import Auxiliary
from beyondprop.rules.local.heads import Head
from beyondprop.shapes import (
    BATCH,
    FEATURES,
    SOURCE,
    channels_first,
    has_positions,
    pooled,
    targets_first,
)

IGNORED = -100
"""The class that `F.cross_entropy` leaves out; here every negative number is."""


class Objective(ABC):
    """What every block lowers under `LocalLoss`."""

    name: ClassVar[str]
    needs_targets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def loss(self, at: At, head: Head, classes: int) -> Tensor:
        """Return the loss of one block, a scalar.

        Args:
            at: The end of the block.
            head: Makes layers on the block.
            classes: How many classes there are.
        """

    def parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the parameters that stand on a block at this depth (0 to 1)."""
        return ()

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build the same objective again, as JSON values."""
        return settings(self)


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy of a linear classifier on every block: decoupled greedy learning.

    Feature maps are averaged over patches first, to ``features`` numbers at most (Belilovsky,
    Eickenberg and Oyallon 2019 and 2020; Nøkland and Eidnes 2019 call it pred). What every position
    has a class for (tokens, pixels) is classified position by position.

    Args:
        auxiliary: Layers between the block and the classifier; none by default.
        features: Most inputs of the classifier.
    """

    name: ClassVar[str] = "dgl"
    auxiliary: Auxiliary | None = None
    features: Count = 2048

    def loss(self, at: At, head: Head, classes: int) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(*self.logits(at, head, classes))

    def logits(self, at: At, head: Head, classes: int) -> tuple[Tensor, Tensor]:
        """Return logits ``(rows, classes, ...)`` and class numbers ``(rows, ...)``."""
        targets = class_targets(at, classes)
        x = at.output if self.auxiliary is None else self.auxiliary.apply(at, head)
        assert x is not None
        axes = at.axes if x.dim() == len(at.shape) else FEATURES  # a layer may have pooled it
        if not has_positions(x, axes, targets):
            logits = head.linear("classifier", pooled(x, axes, self.features), classes)
            if targets.dim() > 1:  # the tokens of another sequence, all from one row
                logits = logits.unsqueeze(1).expand(*targets.shape, classes).flatten(0, 1)
            return logits, targets.flatten()
        if channels_first(x, axes):
            logits = head.convolution("classifier", x, classes, size=1)
            return F.interpolate(logits, targets.shape[1:]), targets  # (batch, classes, positions)
        rows = x.reshape(-1, x.shape[-1])  # (batch × tokens, features)
        return head.linear("classifier", rows, classes), targets.flatten()

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the classifier's parameters and of the layers before it."""
        auxiliary = () if self.auxiliary is None else self.auxiliary.parameters(depth)
        return (*auxiliary, "classifier.weight", "classifier.bias")


def class_targets(at: At, classes: int) -> Tensor:
    """Return the targets as class numbers, one for each sample or position of a block's output.

    Raises:
        UserError: There are none, or they are not class numbers that the output has.
    """
    targets = at.run.targets
    if targets is None or targets.is_floating_point():
        raise UserError(
            "this local loss classifies, so its targets must be class numbers: "
            "handle.targets(y) with whole numbers"
        )
    targets = _with_samples(targets.to(at.device, torch.int64), at)
    targets = targets.masked_fill(targets < 0, IGNORED)
    if targets.numel() and not torch.compiler.is_compiling() and targets.max() >= classes:
        raise UserError(
            f"a target is class {int(targets.max())}, but there are {classes} classes, "
            "counted from 0: give LocalLoss(..., classes=…)"
        )
    if targets.shape[:1] != at.shape[:1]:
        raise UserError(
            f"targets of shape {tuple(targets.shape)} cannot teach a block whose output has shape "
            f"{tuple(at.shape)}: both must begin with the same batch dimension"
        )
    if targets.dim() != 1 and not _fit(targets, at):
        raise UserError(
            f"targets of shape {tuple(targets.shape)} cannot teach a block whose output has shape "
            f"{tuple(at.shape)}: it has no row for each of them; name blocks that do, say what "
            "its axes mean (axes=), or give it another rule"
        )
    return targets


def _with_samples(targets: Tensor, at: At) -> Tensor:
    """Return targets as ``(batch, tokens…)``: their axes are those of the model's output."""
    targets, names = targets_first(targets, at.run.axes), at.run.axes.groups[0]
    if len(names) != 2 or targets.dim() != 1 or len(at.shape) != 3:
        return targets
    batch, tokens, _ = at.shape
    if len(targets) != batch * tokens:
        return targets
    first = names[0] == BATCH
    return targets.view(batch, tokens) if first else targets.view(tokens, batch).t()


def _fit(targets: Tensor, at: At) -> bool:
    """Whether there is one target for each position; maps may have another resolution."""
    x = at.output
    assert x is not None
    if at.axes == SOURCE:
        return True  # the targets are of another sequence
    if not has_positions(x, at.axes, targets):
        return False
    return channels_first(x, at.axes) or targets.shape == x.shape[:-1]


REGISTERED = (CrossEntropy,)
