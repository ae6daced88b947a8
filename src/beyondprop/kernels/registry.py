"""The choice of an operation's implementation for a tensor.

Plain PyTorch supports every device and dtype. Loops compiled by numba support float32 and float64
on the CPU, and kernels compiled by Triton support them on CUDA devices, if these packages are
installed. They are imported at their first use.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

DTYPES = torch.float32, torch.float64
"""The dtypes of compiled loops and kernels."""


def compiler_for(like: Tensor) -> str:
    """Return the compiler for such a tensor: "numba", "triton", or "" for plain PyTorch."""
    if like.dtype in DTYPES:
        if like.is_cpu and installed("numba"):
            return "numba"
        if like.is_cuda and installed("triton"):
            return "triton"
    return ""


@cache
def installed(module: str) -> bool:
    """Whether a module is installed; it is not imported."""
    return importlib.util.find_spec(module) is not None


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation and its forms, which take the same arguments and compute the same values.

    Attributes:
        name: A short name.
        plain: The form in plain PyTorch.
        compiled: The name of each compiler's form, as module:function.
    """

    name: str
    plain: Callable[..., Any]
    compiled: dict[str, str]

    def form_for(self, like: Tensor) -> Callable[..., Any]:
        """Return the fastest form for such a tensor."""
        return self.form(compiler_for(like))

    def form(self, compiler: str) -> Callable[..., Any]:
        """Return the form of a compiler, or the plain one if it has none."""
        if compiler not in self.compiled:
            return self.plain
        module, _, function = self.compiled[compiler].partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
        return found
