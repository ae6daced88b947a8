"""Data with several independent readers, none of which may affect the others.

A loader that shuffles draws each pass from a generator, its own or PyTorch's, and other data counts
its passes. Without this module, the data of one sub-network would depend on which others were
trained before it, and in which process.
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
"""Types whose attributes do not determine the order of data."""


@contextmanager
def unread(data: T) -> Iterator[T]:
    """Yield data in its current state, and restore that state afterwards.

    This restores the generators that the data holds as attributes, directly or through other
    objects such as a DataLoader's sampler. The data's own attributes are protected by a shallow
    copy, but not the objects that they refer to. The caller must restore PyTorch's global
    generator: see `generators_kept`.
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
        seen: The identities of objects that were visited.
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
    """Return a function that restores a generator's current state."""
    if isinstance(generator, np.random.Generator):
        bits, state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", state)
    if isinstance(generator, random.Random):
        own = generator.getstate()
        return lambda: generator.setstate(own)
    found = generator.get_state()  # PyTorch's, or NumPy's legacy RandomState
    return lambda: generator.set_state(found)
