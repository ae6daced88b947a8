"""Direct random target projection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.core import At, ForwardPass, Traits
from beyondprop.errors import UserError
from beyondprop.rules.direct.base import DIRECT, DirectRule
from beyondprop.shapes import features_axis


@dataclass(frozen=True)
class DirectRandomTargetProjection(DirectRule):
    """Direct random target projection: every block sees only a random projection of the target.

    ``δ_l = (y* B_l) ⊙ f'(a_l) / n`` with ``y*`` the one-hot target and ``n`` the number of rows in
    the batch, as in a mean loss (Frenkel, Lefebvre and Bol 2021, section 2). Labels (booleans) and
    values (floats) are projected unchanged. No error is used, so hidden blocks do not wait for the
    output. The signal does not depend on the loss: scaling the loss scales only the output block's
    gradient.
    """

    name: ClassVar[str] = "drtp"
    traits: ClassVar[Traits] = DIRECT.but(
        needs=frozenset({"targets"}), one_output=True, scales_with_loss=False
    )

    def signal(self, at: At) -> Tensor:
        """Return the targets' projection; only the shape of the error is used."""
        if not at.run.errors:  # the block learns before the model's output is known
            at.run.errors = (_expected_error(at),)
        return super().signal(at)

    def messages(self, run: ForwardPass) -> Sequence[Tensor | None]:
        """Return the one-hot targets, with the shape of the only output that the loss uses."""
        errors = [e for e in run.errors if e is not None]
        if len(errors) != 1 or run.targets is None:
            raise UserError("DirectRandomTargetProjection supports one output only")
        (error,) = errors
        classes = run.classes if run.hidden else None
        alone = error.dim() == 1 and (run.inputs is None or run.inputs.dim() > 1)
        if alone:  # one feature per row
            error = error.unsqueeze(-1)
        axis = features_axis(error, run.axes) if error.dim() > 2 else -1
        error = error.movedim(axis, -1)  # (batch, positions…, features)
        targets = run.targets.to(error.device)
        if alone or targets.dim() == error.dim():
            targets = targets.unsqueeze(-1) if alone else targets.movedim(axis, -1)
        target = self._target(targets, error, classes or error.shape[-1]).movedim(-1, axis)
        target = target.squeeze(-1) if alone else target
        return [None if e is None else target for e in run.errors]

    def _target(self, targets: Tensor, error: Tensor, width: int) -> Tensor:
        rows = max(1, error.shape[:-1].numel())
        if targets.dtype == torch.bool:
            targets = targets.to(error.dtype)  # labels, not the numbers of two classes
        if targets.is_floating_point() and (*targets.shape, 1) == error.shape:
            targets = targets.unsqueeze(-1)  # one value per row, for an output of one feature
        if targets.shape == error.shape:
            return targets.to(error.dtype) / rows
        if targets.is_floating_point() or targets.shape != error.shape[:-1]:
            raise UserError(
                f"targets of shape {tuple(targets.shape)} do not fit an output of shape "
                f"{tuple(error.shape)}: give class numbers or one value for each output"
            )
        classes = targets.long().unsqueeze(-1)
        none = error.new_zeros((*error.shape[:-1], width))
        if not classes.numel():
            return none
        low, high = map(int, classes.aminmax())
        if high >= width:
            raise UserError(
                f"a target is class {high}, but the output has {width} classes, counted from 0"
            )
        if low >= 0:
            return none.scatter_(-1, classes, 1 / rows)
        known = (classes >= 0).to(error.dtype)  # losses ignore targets with negative numbers
        return none.scatter_(-1, classes.clamp(min=0), known / known.sum().clamp(min=1))


def _expected_error(at: At) -> Tensor:
    """Return zeros with the shape that the error at the model's output will have.

    Raises:
        UserError: The number of classes is unknown.
    """
    targets, classes = at.run.targets, at.run.classes
    assert targets is not None
    if targets.is_floating_point() or targets.dtype == torch.bool:
        return torch.zeros(targets.shape, dtype=at.dtype, device=at.device)
    if classes is None:
        raise UserError(
            "the number of classes is unknown before the model has run, as its last layer is not "
            "linear: leave the schedule out, or give the targets one-hot, as floats"
        )
    found = torch.zeros((*targets.shape, classes), dtype=at.dtype, device=at.device)
    return found.movedim(-1, features_axis(found, at.run.axes))


REGISTERED = (DirectRandomTargetProjection,)
