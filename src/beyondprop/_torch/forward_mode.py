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

    PyTorch allows one such context per process, and refuses that of a second thread as nested.
    """
    with _turn, forward_ad.dual_level():
        yield


def make_dual(tensor: Tensor, tangent: Tensor) -> Tensor:
    """Return the tensor with a derivative of the same shape."""
    make: Any = forward_ad.make_dual
    if "torch._decomp.decompositions_for_jvp" in sys.modules:
        return make(tensor, tangent)  # type: ignore[no-any-return]
    with warnings.catch_warnings():
        # The first call loads code that PyTorch scripts with a deprecated function.
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        return make(tensor, tangent)  # type: ignore[no-any-return]


class OneDtype(TorchFunctionMode):
    """A context in which derivatives have the dtype of their values.

    Under autocast PyTorch 2.13's batch norm returns half-precision values with single-precision
    derivatives, and the next layer fails on them.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and cast the derivative that it returns."""
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        value, slope = forward_ad.unpack_dual(result)
        if slope is None or slope.dtype is value.dtype:
            return result
        return make_dual(value, slope.to(value.dtype))
