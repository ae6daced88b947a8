"""Targets, as the caller gives them."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from beyondprop.engine.passes import Passes
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
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"targets must be a tensor, an array or a list of numbers, not "
            f"{type(targets).__name__}: {error}"
        ) from error


class Targets(AbstractContextManager[None]):
    """The context of `Attachment.targets`; a generator would take longer than a small product."""

    __slots__ = ("_before", "_passes", "_targets")

    def __init__(self, passes: Passes, targets: Tensor) -> None:
        self._passes, self._targets = passes, targets

    def __enter__(self) -> None:
        self._before, self._passes.targets = self._passes.targets, self._targets

    def __exit__(self, *_: object) -> None:
        self._passes.targets = self._before
