"""Errors in the code of a task or a rule, reported in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from beyondprop.core import Rule
from beyondprop.errors import FAULTS, UserError, one_line
from beyondprop.tasks import Task


@contextmanager
def fault_of(part: str, task: Task) -> Iterator[None]:
    """Attribute any error inside to this part of the task.

    It is also a decorator for functions that are passed on: `fault_of("loss", task)(task.loss)`.

    Raises:
        UserError: The error in one sentence; a `UserError` is raised unchanged.
    """
    with _fault(f"the {part} of task {task.name}"):
        yield


@contextmanager
def fault_of_rule(rule: Rule) -> Iterator[None]:
    """Attribute any error inside to the attachment of the rule.

    Raises:
        UserError: The error in one sentence; a `UserError` is raised unchanged.
    """
    with _fault(f"attaching the rule {rule.name}"):
        yield


def check_returned(
    part: str, task: Task, found: object, kind: type | tuple[type, ...], wanted: str
) -> None:
    """Check the type that a function of a task returned.

    Raises:
        UserError: It returned another type.
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
    except FAULTS as error:  # any error of the user's code
        raise UserError(f"{what} failed: {one_line(error)}") from error
