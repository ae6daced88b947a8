"""A counter of floating-point operations, for cases in which PyTorch's counter fails."""

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
    """Return the operations of attention with PyTorch's operator for CPUs.

    All pairs of tokens are counted, including those that a causal mask excludes, as on other
    devices.
    """
    count: int = sdpa_flop_count(query.shape, key.shape, value.shape)
    return count


def attention_backward_on_cpu(
    gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any
) -> int:
    """Return the operations of the backward pass of attention."""
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

    The gradients of inputs and of weights each take the operations of the forward pass, with groups
    too, for which PyTorch's formula counts the weights of a convolution without groups.
    """
    places = (inputs if transposed else gradient).shape[2:]
    forward = 2 * len(inputs) * prod(places) * weight.numel()
    return forward * sum(wanted[:2])


def recurrent_on_cpu(
    inputs: Tensor, of_inputs: Tensor, of_state: Tensor, *_: Any, **__: Any
) -> int:
    """Return the operations of one LSTM layer with oneDNN; inputs have one row per time step."""
    rows = inputs.numel() // inputs.shape[-1]
    return 2 * rows * (of_inputs.numel() + of_state.numel())


def recurrent_backward_on_cpu(*call: Any, **named: Any) -> int:
    """Return the operations of its backward pass, to inputs and to weights."""
    return 2 * recurrent_on_cpu(*call, **named)


def recurrent_on_cuda(inputs: Tensor, weights: Sequence[Tensor], *_: Any, **__: Any) -> int:
    """Return the operations of recurrent layers with cuDNN; biases, which are vectors, do not
    count."""
    rows = inputs.numel() // inputs.shape[-1]
    return 2 * rows * sum(each.numel() for each in weights if each.ndim > 1)


def recurrent_backward_on_cuda(*call: Any, **named: Any) -> int:
    """Return the operations of their backward pass, to inputs and to weights."""
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
"""Formulas that return the operations of an operator, from its arguments and ``out_val``, its
result."""


class Operations(TorchDispatchMode):
    """A context that counts the floating-point operations of matrix products, convolutions,
    attention and recurrent layers.

    PyTorch's fused kernels of transformers are off inside, because they hide their operations.
    Everything else counts zero: norms, activations, sums, biases, the optimizer's step, and
    embedding lookups, which only move bytes. The additions of an embedding bag and of an embedding
    table's gradient, one per word and feature, are omitted like other sums, so that a bag counts
    the same as one operator or as a lookup and a sum.

    `FlopCounterMode` uses the same formulas, but counts module by module with hooks that fail if a
    layer is differentiated by `torch.autograd.grad` at a leaf, as in predictive coding.

    Attributes:
        total: The number of operations counted.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self._inside: list[ExitStack] = []

    def __enter__(self) -> Self:
        """Begin counting."""
        inside = ExitStack()
        inside.enter_context(unfused())
        self._inside.append(inside)
        return super().__enter__()  # type: ignore[no-untyped-call, no-any-return]

    def __exit__(self, *problem: object) -> None:
        """End counting."""
        self._inside.pop().close()
        super().__exit__(*problem)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and count it."""
        del types
        named = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return NotImplemented
        count = COUNTS.get(func._overloadpacket)
        if count is None:
            with self:  # in inference mode it may consist of several counted operations
                made = func.decompose(*args, **named)
            return func(*args, **named) if made is NotImplemented else made
        made = func(*args, **named)
        self.total += count(*args, **named, out_val=made)
        return made
