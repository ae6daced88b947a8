"""Floating-point operations, counted where PyTorch's own counter fails."""

from typing import Any

from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


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
        count = flop_registry.get(func._overloadpacket)
        if count is None:
            with self:  # in inference mode it may be several that count
                made = func.decompose(*args, **named)
            return func(*args, **named) if made is NotImplemented else made
        made = func(*args, **named)
        self.total += count(*args, **named, out_val=made)
        return made
