"""Floating-point operations, counted where PyTorch's own counter fails."""

from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten


def attention_on_cpu(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Return the operations of attention by PyTorch's operator for CPUs.

    All pairs of tokens count, also those that a causal mask leaves out, as on other devices.
    """
    count: int = sdpa_flop_count(query.shape, key.shape, value.shape)
    return count


def attention_backward_on_cpu(
    gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any
) -> int:
    """Return the operations of its backward pass."""
    count: int = sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape)
    return count


COUNTS = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: attention_on_cpu,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_on_cpu,
}
"""Of an operator: its arguments, and its result as ``out_val``, to its operations."""


class Operations(TorchDispatchMode):
    """Counts those of matrix products, convolutions and attention inside this context.

    `FlopCounterMode` counts by the same formulas, module by module, by hooks that fail where a
    layer is differentiated by `torch.autograd.grad` at a leaf, as predictive coding does.

    Attributes:
        total: All that were counted.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Carry out an operation and count it."""
        del types
        named = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return NotImplemented
        count = COUNTS.get(func._overloadpacket)
        if count is None:
            with self:  # in inference mode it may be several that count
                made = func.decompose(*args, **named)
            return func(*args, **named) if made is NotImplemented else made
        made = func(*args, **named)
        self.total += count(*args, **named, out_val=made)
        return made
