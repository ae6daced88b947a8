"""Floating-point operations, counted where PyTorch's own counter fails."""

from collections.abc import Sequence
from contextlib import ExitStack
from math import prod
from typing import Any, Self

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from beyondprop._torch.fused import unfused

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


def convolution_backward(
    gradient: Tensor,
    inputs: Tensor,
    weight: Tensor,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: Sequence[bool],
    **_: Any,
) -> int:
    """Return the operations of a convolution's backward pass.

    The gradient of inputs and that of weights take as many as the forward pass each, also in
    groups, where PyTorch's own formula counts the weights of a convolution without groups.
    """
    places = (inputs if transposed else gradient).shape[2:]
    forward = 2 * len(inputs) * prod(places) * weight.numel()
    return forward * sum(wanted[:2])


def recurrent_on_cpu(
    inputs: Tensor, of_inputs: Tensor, of_state: Tensor, *_: Any, **__: Any
) -> int:
    """Return the operations of one layer of an LSTM by oneDNN: one row of inputs a time step."""
    rows = inputs.numel() // inputs.shape[-1]
    return 2 * rows * (of_inputs.numel() + of_state.numel())


def recurrent_backward_on_cpu(*call: Any, **named: Any) -> int:
    """Return those of its backward pass, to inputs and to weights."""
    return 2 * recurrent_on_cpu(*call, **named)


def recurrent_on_cuda(inputs: Tensor, weights: Sequence[Tensor], *_: Any, **__: Any) -> int:
    """Return the operations of recurrent layers by cuDNN; biases are vectors."""
    rows = inputs.numel() // inputs.shape[-1]
    return 2 * rows * sum(each.numel() for each in weights if each.ndim > 1)


def recurrent_backward_on_cuda(*call: Any, **named: Any) -> int:
    """Return those of their backward pass, to inputs and to weights."""
    return 2 * recurrent_on_cuda(*call, **named)


COUNTS = {
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: attention_on_cpu,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_on_cpu,
    aten.convolution_backward: convolution_backward,
    aten.mkldnn_rnn_layer: recurrent_on_cpu,
    aten.mkldnn_rnn_layer_backward: recurrent_backward_on_cpu,
    aten._cudnn_rnn: recurrent_on_cuda,
    aten._cudnn_rnn_backward: recurrent_backward_on_cuda,
}
"""Of an operator: its arguments, and its result as ``out_val``, to its operations."""


class Operations(TorchDispatchMode):
    """Counts those of matrix products, convolutions, attention and recurrent layers inside this
    context. PyTorch's fused kernels of transformers are off in it: they say nothing of what is
    in them.

    All else counts nothing: norms, activations, sums, biases, the optimizer's step, and lookups in
    tables of embeddings. A lookup moves bytes. The additions of a bag of embeddings and of a
    table's gradient, one a word and feature, are left out as other sums are, so that a bag counts
    the same whether it is one operator or a lookup and a sum.

    `FlopCounterMode` counts by the same formulas, module by module, by hooks that fail where a
    layer is differentiated by `torch.autograd.grad` at a leaf, as predictive coding does.

    Attributes:
        total: All that were counted.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self._inside: list[ExitStack] = []

    def __enter__(self) -> Self:
        """Begin to count."""
        inside = ExitStack()
        inside.enter_context(unfused())
        self._inside.append(inside)
        return super().__enter__()  # type: ignore[no-untyped-call, no-any-return]

    def __exit__(self, *problem: object) -> None:
        """End."""
        self._inside.pop().close()
        super().__exit__(*problem)  # type: ignore[no-untyped-call]

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
