"""Attaching rules to a task's model, and passing them the targets."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn

from beyondprop.core import Rule
from beyondprop.engine.attach import attach
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.tasks.base import Task


def attached(
    task: Task, model: nn.Module, rule: Rule, blocks: Sequence[str | Sequence[str]] | None
) -> Attachment:
    """Attach a rule to a task's model, with the output module and the axes of the task.

    Args:
        task: The task of the model.
        model: A model built by the task.
        rule: The rule for all blocks.
        blocks: Names of the blocks; see `attach`.
    """
    return attach(model, rule, blocks=blocks, output=task.output, axes=task.axes)


def taught(handle: Attachment, targets: Any) -> AbstractContextManager[None]:
    """Return the context in which a model's rules receive a batch's targets.

    Raises:
        UserError: A rule needs the targets, but they are several tensors.
    """
    if isinstance(targets, Tensor):
        return handle.targets(targets)
    if handle.needs_targets:
        raise UserError(
            "a rule attached to the model needs the targets, which must be one tensor, not a "
            f"{type(targets).__name__}: change the targets, or use a rule that needs only the error"
        )
    return nullcontext()
