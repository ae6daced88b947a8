"""Direct random target projection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.engine.detach import Lesson
from beyondprop.errors import UserError
from beyondprop.rules.base import DirectRule


@dataclass(frozen=True)
class DirectRandomTargetProjection(DirectRule):
    """Direct random target projection: every block sees a random projection of the target alone.

    ``δ_l = (y* B_l) ⊙ f'(a_l) / n`` with ``y*`` the one-hot target and ``n`` the rows of the batch,
    as a mean loss would divide (Frenkel, Lefebvre and Bol 2021, section 2). No error is used, so
    hidden blocks need not wait for the output. The signal does not know the loss: scaling the loss
    scales the output block's gradient alone.
    """

    name: ClassVar[str] = "drtp"
    immediate: ClassVar[bool] = True
    needs_targets: ClassVar[bool] = True
    one_output: ClassVar[bool] = True
    scales: ClassVar[bool] = False

    def messages(self, lesson: Lesson) -> Sequence[Tensor | None]:
        """Return the targets, one-hot, shaped like the only output that the loss uses."""
        errors = [e for e in lesson.errors if e is not None]
        if len(errors) != 1 or lesson.targets is None:
            raise UserError("DirectRandomTargetProjection teaches by one output only")
        (error,) = errors
        target = self._target(lesson.targets.to(error.device), error)
        return [None if e is None else target for e in lesson.errors]

    def _target(self, targets: Tensor, error: Tensor) -> Tensor:
        rows = max(1, error.shape[:-1].numel())
        if targets.shape == error.shape:
            return targets.to(error.dtype) / rows
        if targets.is_floating_point() or targets.shape != error.shape[:-1]:
            raise UserError(
                f"targets of shape {tuple(targets.shape)} do not fit an output of shape "
                f"{tuple(error.shape)}: give class numbers or one value for each output"
            )
        classes = targets.long().unsqueeze(-1)
        if classes.numel() and classes.max() >= error.shape[-1]:
            raise UserError(
                f"a target is class {int(classes.max())}, but the output has {error.shape[-1]} "
                "classes, counted from 0"
            )
        known = (classes >= 0).to(error.dtype)  # losses mark what to ignore by negative numbers
        return torch.zeros_like(error).scatter_(-1, classes.clamp(min=0), known / rows)
