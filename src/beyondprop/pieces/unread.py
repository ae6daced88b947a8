"""Data that several read, none of whom may see that others did.

A loader that shuffles draws each pass from a generator, its own or PyTorch's, and other data counts
its passes: so what one sub-network learns from would depend on which others were trained before it,
and in which process.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

T = TypeVar("T")
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
OTHERS = (Tensor, nn.Module, np.ndarray, type, FunctionType, MethodType, ModuleType)
"""What has attributes, of which none says in which order data comes."""


@contextmanager
def unread(data: T) -> Iterator[T]:
    """Give data inside as it is now; behind, it is as if nobody had read it.

    Put back are the generators that it holds as attributes, or that such attributes hold, as a
    DataLoader's sampler; and the data's own numbers, as it is copied, but not what it holds.
    PyTorch's own generator is the caller's: see `generators_kept`.
    """
    back = [putter(each) for each in generators_in(data, set())]
    try:
        yield copy.copy(data)
    finally:
        for put in back:
            put()


def generators_in(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the generators of random numbers that an object holds, each once.

    Args:
        value: Any object.
        seen: The identities of those that were looked at.
    """
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, GENERATORS):
        yield value
    elif hasattr(value, "__dict__") and not isinstance(value, OTHERS):
        for each in list(vars(value).values()):
            yield from generators_in(each, seen)


def putter(generator: Any) -> Callable[[], Any]:
    """Return what puts a generator back as it is now."""
    if isinstance(generator, np.random.Generator):
        bits, state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", state)
    if isinstance(generator, random.Random):
        own = generator.getstate()
        return lambda: generator.setstate(own)
    found = generator.get_state()  # of PyTorch's, and of NumPy's older one
    return lambda: generator.set_state(found)
