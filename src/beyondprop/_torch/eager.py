"""Functions that `torch.compile` must leave alone."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def eager(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function run as plain Python in compiled models too, where its counts would freeze.

    Like `torch.compiler.disable`, but the compiler is not loaded where nobody compiles.
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
    """Have models that are compiled be compiled anew where they run next.

    The compiler does not look again at the hooks of a model whose class it has compiled before.
    """
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
