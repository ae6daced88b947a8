"""Targets, as the caller gives them, to the passes of one thread or task alone."""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from beyondprop.errors import UserError


def as_targets(targets: Any) -> Tensor:
    """Return targets as a tensor of its own: callers may fill one buffer again for each batch.

    Args:
        targets: A tensor, an array or a list of numbers.

    Raises:
        UserError: No tensor can be made of them.
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
    """The context of `Attachment.targets`; a generator would take longer than a small product.

    Args:
        passes: Whose targets they are; another model's stay as they are.
        targets: What is given.
    """

    __slots__ = ("passes", "targets")

    def __init__(self, passes: object, targets: Tensor) -> None:
        self.passes, self.targets = passes, targets

    def __enter__(self) -> None:
        OPEN.set((self, OPEN.get()))

    def __exit__(self, *_: object) -> None:
        OPEN.set(_without(self, OPEN.get()))


Chain = tuple[Targets, "Chain"] | None
"""Contexts, the innermost first."""

OPEN: ContextVar[Chain] = ContextVar("beyondprop targets", default=None)
"""Those that this thread or task is in, whosever passes they are for."""


def _without(left: Targets, chain: Chain) -> Chain:
    """Return the contexts that stay open; generators may leave another one than the innermost."""
    if chain is None:
        return None
    found, around = chain
    return around if found is left else (found, _without(left, around))
