"""Contexts that set PyTorch's CPU threads, and that one Python thread enters at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from beyondprop.errors import UserError

THREADS_A_CORE = 4


class Turn(AbstractContextManager[None]):
    """A context that one thread can enter at a time; a copy has a separate lock."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Set PyTorch's number of threads inside, and restore the previous one on exit.

    Raises:
        UserError: The number is far too large for this machine; PyTorch would start the threads, or
            crash.
    """
    most = THREADS_A_CORE * (os.cpu_count() or 1)
    if count > most:
        raise UserError(f"threads must be at most {most} on this machine, not {count}")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
