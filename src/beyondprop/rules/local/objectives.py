"""What a block may lower by itself: objectives of `LocalLoss`, and the plainest of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.registry import settings
from beyondprop.rules.local.auxiliary import Auxiliary, Plain
from beyondprop.rules.local.base import Passed
from beyondprop.rules.local.features import by_token, of_maps, pooled

IGNORED = -100
"""The class that `F.cross_entropy` leaves out; here every negative number is."""


class Objective(ABC):
    """What every block lowers under `LocalLoss`."""

    name: ClassVar[str]
    needs_targets: ClassVar[bool] = True

    @abstractmethod
    def loss(self, passed: Passed) -> Tensor:
        """Return the loss of one block, a scalar."""

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
    auxiliary: Auxiliary = field(default_factory=Plain)
    features: int = 2048

    def loss(self, passed: Passed) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(*self.logits(passed))

    def logits(self, passed: Passed) -> tuple[Tensor, Tensor]:
        """Return logits ``(rows, classes, ...)`` and class numbers ``(rows, ...)``."""
        targets = classes(passed)
        x = self.auxiliary.apply(passed)
        if of_maps(x, targets):
            logits = passed.head.convolution("classifier", x, passed.classes, size=1)
            return F.interpolate(logits, targets.shape[1:]), targets
        if by_token(x, targets):
            x, targets = x.flatten(0, 1), targets.flatten()
        logits = passed.head.linear("classifier", pooled(x, self.features), passed.classes)
        return logits, targets

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the classifier's parameters and of the layers before it."""
        return (*self.auxiliary.parameters(depth), "classifier.weight", "classifier.bias")


def classes(passed: Passed) -> Tensor:
    """Return the targets as class numbers.

    Raises:
        UserError: There are none, or they are not class numbers that the output has.
    """
    targets = passed.targets
    if targets is None or targets.is_floating_point():
        raise UserError(
            "this local loss classifies, so its targets must be class numbers: "
            "handle.targets(y) with whole numbers"
        )
    targets = targets.to(passed.output.device, torch.int64)
    targets = targets.masked_fill(targets < 0, IGNORED)
    if targets.numel() and not torch.compiler.is_compiling() and targets.max() >= passed.classes:
        raise UserError(
            f"a target is class {int(targets.max())}, but there are {passed.classes} classes, "
            "counted from 0: give LocalLoss(..., classes=…)"
        )
    if targets.shape[:1] != passed.output.shape[:1]:
        raise UserError(
            f"targets of shape {tuple(targets.shape)} cannot teach a block whose output has shape "
            f"{tuple(passed.output.shape)}: both must begin with the same batch dimension"
        )
    x = passed.output
    if targets.dim() != 1 and not (by_token(x, targets) or of_maps(x, targets)):
        raise UserError(
            f"targets of shape {tuple(targets.shape)} cannot teach a block whose output has shape "
            f"{tuple(x.shape)}: it has no row for each of them; name blocks that do, or give this "
            "one another rule"
        )
    return targets
