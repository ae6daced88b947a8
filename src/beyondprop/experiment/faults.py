"""Errors in the code of a task or a rule, told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from beyondprop.core import Rule
from beyondprop.errors import FAULTS, UserError
from beyondprop.registry.dotted import one_line
from beyondprop.tasks import Task


@contextmanager
def fault_of(part: str, task: Task) -> Iterator[None]:
    """Say of any error inside that it is one of this part of the task.

    Also a decorator, for what is handed on: `fault_of("loss", task)(task.loss)`.

    Raises:
        UserError: The error in one sentence; one that is a `UserError` already stays as it is.
    """
    with _fault(f"the {part} of task {task.name}"):
        yield


@contextmanager
def fault_of_rule(rule: Rule) -> Iterator[None]:
    """Say of any error inside that the rule raised it when it was attached.

    Raises:
        UserError: The error in one sentence; one that is a `UserError` already stays as it is.
    """
    with _fault(f"attaching the rule {rule.name}"):
        yield


def check_returned(
    part: str, task: Task, found: object, kind: type | tuple[type, ...], wanted: str
) -> None:
    """See that a function of a task has returned what it must.

    Raises:
        UserError: It has returned something else.
    """
    if not isinstance(found, kind):
        raise UserError(
            f"the {part} of task {task.name} must return {wanted}, not a {type(found).__name__}"
        )


@contextmanager
def _fault(what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except FAULTS as error:  # whatever the user's code does
        raise UserError(f"{what} failed: {one_line(error)}") from error
