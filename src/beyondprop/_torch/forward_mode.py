"""Dual numbers: tensors that carry a derivative through a forward pass."""

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

_turn = threading.RLock()


@contextmanager
def dual_level() -> Iterator[None]:
    """Let tensors carry derivatives inside the context; threads take turns.

    PyTorch has one such context in a process, and refuses a second thread's as a nested one.
    """
    with _turn, forward_ad.dual_level():
        yield


def make_dual(tensor: Tensor, tangent: Tensor) -> Tensor:
    """Return the tensor with a derivative of its shape."""
    make: Any = forward_ad.make_dual
    if "torch._decomp.decompositions_for_jvp" in sys.modules:
        return make(tensor, tangent)  # type: ignore[no-any-return]
    with warnings.catch_warnings():
        # The first one loads what PyTorch itself scripts, by a function that it has deprecated.
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        return make(tensor, tangent)  # type: ignore[no-any-return]


class OneDtype(TorchFunctionMode):
    """Inside this context derivatives have the dtype of what they are derivatives of.

    Under autocast PyTorch 2.13's batch norm returns half-precision values with single-precision
    derivatives, and the next layer fails on them.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and mend what it returns."""
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        value, slope = forward_ad.unpack_dual(result)
        if slope is None or slope.dtype is value.dtype:
            return result
        return make_dual(value, slope.to(value.dtype))
