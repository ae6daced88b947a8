"""Objectives of `LocalLoss`, their criteria, and the simplest objective, a linear read-out."""

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
"""The class that `F.cross_entropy` ignores; here every negative number is replaced by it."""


class Objective(ABC):
    """The loss of every block under `LocalLoss`."""

    name: ClassVar[str]
    needs_targets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def loss(self, at: At, head: Head, classes: int) -> Tensor:
        """Return the loss of one block, a scalar.

        Args:
            at: The end of the block.
            head: Creates layers on the block.
            classes: Number of classes.
        """

    def parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the head's parameters for a block at this depth (0 to 1)."""
        return ()

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build the same objective again, as JSON values."""
        return settings(self)


class Criterion(ABC):
    """The loss that compares a prediction on a block with the targets."""

    name: ClassVar[str]
    of_classes: ClassVar[bool] = False  # whether targets are class numbers, per sample or position

    @abstractmethod
    def targets(self, at: At, classes: int) -> Tensor:
        """Return the targets for the loss: ``(rows, ...)`` for classes, ``(n, k)`` for others.

        Raises:
            UserError: They have the wrong type or shape.
        """

    @abstractmethod
    def losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row; 0 for ignored ones."""

    def loss(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss."""
        return self.losses(predicted, targets).mean()


@dataclass(frozen=True)
class Classes(Criterion):
    """Cross-entropy of class numbers, one for each sample or position."""

    name: ClassVar[str] = "classes"
    of_classes: ClassVar[bool] = True

    def targets(self, at: At, classes: int) -> Tensor:
        """Return the class numbers ``(rows, ...)``, one for each sample or position; negative ones
        are ignored.

        Raises:
            UserError: There are none, or they are not valid class numbers of the output.
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
            raise UserError(f"{_unfit(targets, at)}: both must begin with the same batch dimension")
        if targets.dim() != 1 and not _fit(targets, at):
            raise UserError(
                f"{_unfit(targets, at)}: it has no row for each of them; name blocks that have, "
                "state the axes of the output (axes=), or give the block another rule"
            )
        return targets

    def losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropies."""
        return F.cross_entropy(predicted, targets, reduction="none")

    def loss(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy over targets that are not ignored."""
        return F.cross_entropy(predicted, targets)


@dataclass(frozen=True)
class Labels(Criterion):
    """Binary cross-entropy of labels; a sample may have several or none."""

    name: ClassVar[str] = "labels"

    def targets(self, at: At, classes: int) -> Tensor:  # noqa: ARG002
        """Return 0 and 1, ``(n, labels)``."""
        return _of_samples(at)

    def losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of each sample over its labels."""
        return F.binary_cross_entropy_with_logits(predicted, targets, reduction="none").mean(1)


@dataclass(frozen=True)
class Values(Criterion):
    """Squared error of values: regression."""

    name: ClassVar[str] = "values"

    def targets(self, at: At, classes: int) -> Tensor:  # noqa: ARG002
        """Return the values ``(n, k)``."""
        return _of_samples(at)

    def losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of each sample over its values."""
        return (predicted - targets).square().mean(1)


def criterion_of(at: At) -> Criterion:
    """Return the default criterion for the type of the targets.

    Whole numbers are classes, booleans are labels, floats are values.

    Raises:
        UserError: There are no targets, or floats that may be labels too.
    """
    targets = at.run.targets
    if targets is None:
        raise UserError(
            "this local loss is taught by targets, and there are none: run the model inside "
            "handle.targets(y)"
        )
    if targets.dtype == torch.bool:
        return Labels()
    if not targets.is_floating_point():
        return Classes()
    first = at.run.number < 2 and not torch.compiler.is_compiling()
    if first and targets.numel() and bool(((targets == 0) | (targets == 1)).all()):
        raise UserError(
            "the targets are floats of only 0 and 1, which may be labels, values or classes: give "
            "labels as booleans and classes as whole numbers, or use "
            "CrossEntropy(criterion=Values()) in the objective"
        )
    return Values()


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """The loss of a linear read-out on every block: decoupled greedy learning.

    It is the cross-entropy of classes, the binary cross-entropy of labels, or the squared error of
    values (regression). Feature maps are first averaged over patches, to a maximum of ``features``
    values (Belilovsky, Eickenberg and Oyallon 2019 and 2020; Nøkland and Eidnes 2019 call it pred).
    If every position (token, pixel) has a class, the read-out classifies each position.

    Args:
        auxiliary: Layers between the block and the read-out; none by default.
        features: Maximum number of inputs of the read-out.
        criterion: `Classes`, `Labels` or `Values`. By default it depends on the targets' type:
            whole numbers are classes, booleans labels, floats values.
    """

    name: ClassVar[str] = "dgl"
    auxiliary: Auxiliary | None = None
    features: Count = 2048
    criterion: Criterion | None = None

    def loss(self, at: At, head: Head, classes: int) -> Tensor:
        """Return the mean loss."""
        criterion, predicted, targets = self.predicted(at, head, classes)
        return criterion.loss(predicted, targets)

    def predicted(self, at: At, head: Head, classes: int) -> tuple[Criterion, Tensor, Tensor]:
        """Return the criterion, predictions ``(rows, outputs, ...)``, and targets."""
        criterion = self.criterion or criterion_of(at)
        targets = criterion.targets(at, classes)
        outputs = classes if criterion.of_classes else targets.shape[1]
        x = at.output if self.auxiliary is None else self.auxiliary.apply(at, head)
        assert x is not None
        axes = at.axes if x.dim() == len(at.shape) else FEATURES  # a layer may have pooled it
        if not criterion.of_classes:
            found = head.linear("classifier", pooled(x, axes, self.features), outputs)
            return criterion, found, targets
        if not has_positions(x, axes, targets):
            logits = head.linear("classifier", pooled(x, axes, self.features), outputs)
            if targets.dim() > 1:  # one row predicts all tokens of another sequence
                logits = logits.unsqueeze(1).expand(*targets.shape, classes).flatten(0, 1)
            return criterion, logits, targets.flatten()
        if channels_first(x, axes):
            logits = head.convolution("classifier", x, outputs, size=1)
            # (batch, classes, positions)
            return criterion, F.interpolate(logits, targets.shape[1:]), targets
        rows = x.reshape(-1, x.shape[-1])  # (batch × tokens, features)
        return criterion, head.linear("classifier", rows, outputs), targets.flatten()

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the read-out's parameters and of the layers before it."""
        auxiliary = () if self.auxiliary is None else self.auxiliary.parameters(depth)
        return (*auxiliary, "classifier.weight", "classifier.bias")


def _of_samples(at: At) -> Tensor:
    """Return labels or values as numbers, ``(n, k)``.

    Raises:
        UserError: There are none, they have more than two axes, or the block's output does not have
            one row for each sample.
    """
    targets = at.run.targets
    if targets is None or targets.dim() not in (1, 2):
        shape = "but there are none" if targets is None else f"not {tuple(targets.shape)}"
        raise UserError(
            "this local loss predicts one or several numbers for each sample, so its targets must "
            f"have shape (n,) or (n, k), {shape}: give the block a rule that uses the error"
        )
    if targets.shape[0] != at.shape[0]:
        raise UserError(f"{_unfit(targets, at)}: both must begin with the same batch dimension")
    targets = targets.to(at.device, at.dtype)
    return targets.unsqueeze(1) if targets.dim() == 1 else targets  # (n, k)


def _unfit(targets: Tensor, at: At) -> str:
    return (
        f"targets of shape {tuple(targets.shape)} cannot teach a block whose output has shape "
        f"{tuple(at.shape)}"
    )


def _with_samples(targets: Tensor, at: At) -> Tensor:
    """Return targets as ``(batch, tokens…)``, from the order of axes in the model's output."""
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
        return True  # the targets belong to another sequence
    if not has_positions(x, at.axes, targets):
        return False
    return channels_first(x, at.axes) or targets.shape == x.shape[:-1]


REGISTERED = (CrossEntropy, Classes, Labels, Values)
