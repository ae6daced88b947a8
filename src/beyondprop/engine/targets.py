"""Targets from the caller, for the passes of one thread or task."""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from beyondprop.errors import UserError


def as_targets(targets: Any) -> Tensor:
    """Return targets as a new tensor, because callers may reuse a buffer for each batch.

    Args:
        targets: A tensor, an array or a list of numbers.

    Raises:
        UserError: They cannot be converted to a tensor.
    """
    if isinstance(targets, Tensor):
        return targets.clone()
    try:
        return torch.tensor(targets)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(
            f"targets must be a tensor, an array or a list of numbers, not "
            f"{type(targets).__name__}: {error}"
        ) from error


class Targets(AbstractContextManager[None]):
    """The context of `Attachment.targets`; a class, as a generator would slow down small networks.

    Args:
        passes: The passes of the model that the targets are for; other models are unaffected.
        targets: The targets.
    """

    __slots__ = ("passes", "targets")

    def __init__(self, passes: object, targets: Tensor) -> None:
        self.passes, self.targets = passes, targets

    def __enter__(self) -> None:
        OPEN.set((self, OPEN.get()))

    def __exit__(self, *_: object) -> None:
        OPEN.set(_without(self, OPEN.get()))


Chain = tuple[Targets, "Chain"] | None
"""Open contexts, the innermost first."""

OPEN: ContextVar[Chain] = ContextVar("beyondprop targets", default=None)
"""The contexts that are open in this thread or task, for any model."""


def _without(left: Targets, chain: Chain) -> Chain:
    """Return the contexts that remain open; generators may leave one that is not the innermost."""
    if chain is None:
        return None
    found, around = chain
    return around if found is left else (found, _without(left, around))
