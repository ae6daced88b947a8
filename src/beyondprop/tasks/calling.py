"""How rules are attached to a task's model, and what they see of the targets."""

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
    """Attach a rule to a task's model, with the error and the axes where the task has them.

    Args:
        task: The model's.
        model: Built by the task.
        rule: For all blocks.
        blocks: Those of a plan; see `attach`.
    """
    return attach(model, rule, blocks=blocks, output=task.output, axes=task.axes)


def taught(handle: Attachment, targets: Any) -> AbstractContextManager[None]:
    """Return the context in which a model's rules see a batch's targets.

    Raises:
        UserError: A rule needs the targets, and they are several tensors.
    """
    if isinstance(targets, Tensor):
        return handle.targets(targets)
    if handle.needs_targets:
        raise UserError(
            "a rule attached to the model is taught by the targets, which must be one tensor, not "
            f"a {type(targets).__name__}: give it others, or take a rule that needs the error alone"
        )
    return nullcontext()
