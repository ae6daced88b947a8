"""Functions that `torch.compile` must not compile."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def eager(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function run as plain Python in compiled models too, where its counts would freeze.

    Like `torch.compiler.disable`, but the compiler is not loaded unless it is used.
    """
    disabled: list[Callable[P, R]] = []

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if not disabled:
            disabled.append(torch.compiler.disable(function))
        return disabled[0](*args, **kwargs)

    return call


def forget_compiled() -> None:
    """Make compiled models compile again at their next run.

    The compiler does not check the hooks of a model again if it has compiled the class before.
    """
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
