"""A chain of linear layers as one operation, for networks so small that overhead decides.

At width 64 and batch 32 the matrix products are the smaller part of a step; most of it is the
bookkeeping of autograd and of module calls. Here the whole chain is one node of the graph. It asks
the same rules for the same signals as the taps do, so nothing is implemented twice.

What it costs: all activations are kept until the backward pass ends, where autograd would free them
block by block. So it only serves batches whose activations are small (`LARGEST`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..teach import Lesson, Teacher

if TYPE_CHECKING:
    from ..attach import Attachment
    from ..blocks import Block

LARGEST = 2**16
"""The most numbers in one activation for which overhead outweighs freeing it early."""

aten = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[..., Tensor]]] = {
    nn.ReLU: (torch.relu, lambda signal, output: aten.threshold_backward(signal, output, 0)),
    nn.Tanh: (torch.tanh, lambda signal, output: aten.tanh_backward(signal, output)),
    nn.Sigmoid: (torch.sigmoid, lambda signal, output: aten.sigmoid_backward(signal, output)),
}
"""Forward, and backward from the output alone."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One linear layer of a chain, with its activation and what teaches its output.

    The error teaches the last layer. A hidden layer without a teacher is frozen.
    """

    linear: nn.Linear
    activation: type[nn.Module] | None
    teacher: Teacher | None
    stream: int

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute ``(batch, in) → (batch, out)``."""
        x = nn.functional.linear(x, weight, bias)
        return x if self.activation is None else ACTIVATIONS[self.activation][0](x)

    def delta(self, lesson: Lesson, output: Tensor) -> Tensor | None:
        """Return the signal before the activation, or None for a frozen layer."""
        if self.teacher is None:
            return None
        signal = self.teacher.signal(lesson, output.shape, self.stream)
        return (
            signal if self.activation is None else ACTIVATIONS[self.activation][1](signal, output)
        )


class FusedChain(torch.autograd.Function):
    """The forward and the taught backward pass of all the layers."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, lesson: Lesson, layers: Sequence[Layer], *parameters: Tensor
    ) -> Tensor:
        """Compute ``(batch, in) → (batch, out)``; parameters are weight, bias, weight, bias, …"""
        inputs = []
        for i, layer in enumerate(layers):
            inputs.append(x)
            x = layer.forward(x, parameters[2 * i], parameters[2 * i + 1])
        ctx.save_for_backward(*inputs, parameters[0])
        ctx.lesson, ctx.layers = lesson, layers
        return x

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        """Return the gradients of the parameters, and of x where it is asked for."""
        ctx.lesson.errors = errors
        *inputs, first_weight = ctx.saved_tensors
        last = len(inputs) - 1
        needs_x, _, _, *needs = ctx.needs_input_grad
        gradients: list[Tensor | None] = [None] * len(needs)
        x_gradient = None
        for i in reversed(range(last + 1)):
            wanted = needs[2 * i], needs[2 * i + 1], needs_x and i == 0
            if not any(wanted):
                continue
            layer = ctx.layers[i]
            delta = errors[0] if i == last else layer.delta(ctx.lesson, inputs[i + 1])
            if delta is None:
                continue
            if wanted[0]:
                gradients[2 * i] = delta.t() @ inputs[i]
            if wanted[1]:
                gradients[2 * i + 1] = delta.sum(0)
            if wanted[2]:
                x_gradient = delta @ first_weight
        return x_gradient, None, None, *gradients


class FusedSequential(nn.Sequential):
    """A chain under direct rules; made by swapping the class of a plain `nn.Sequential`."""

    def forward(self, input: Any) -> Any:
        """Compute the chain as one node where that pays, else child by child."""
        chain: Chain | None = vars(self).get("_chain")
        lesson = None if chain is None else chain.attachment.lesson
        if chain is None or lesson is None or not chain.fits(input):
            return super().forward(input)  # type: ignore[no-untyped-call]
        parameters = [p for layer in chain.layers for p in (layer.linear.weight, layer.linear.bias)]
        return FusedChain.apply(input.flatten(1), lesson, chain.layers, *parameters)


@dataclass(frozen=True, eq=False)
class Chain:
    """What a `FusedSequential` needs to know of its layers.

    Attributes:
        attachment: Where the lesson of the forward pass under way is.
        layers: The layers in order.
        hooks: Hook tables of the children with the number of entries that are our own; where a user
            has added hooks, the children must really be called.
    """

    attachment: "Attachment"
    layers: Sequence[Layer]
    hooks: Sequence[tuple[dict[int, Any], int]]

    def fits(self, x: Any) -> bool:
        """Whether this batch can and should go through the fused form."""
        weight = self.layers[0].linear.weight
        return (
            isinstance(x, Tensor)
            and x.dim() >= 2
            and x.dtype == weight.dtype
            and x[0].numel() == weight.shape[1]
            and len(x) * max(layer.linear.out_features for layer in self.layers) <= LARGEST
            and not torch.is_autocast_enabled(x.device.type)
            and not torch.compiler.is_compiling()
            and all(type(layer.linear) is nn.Linear for layer in self.layers)
            and all(len(table) == own for table, own in self.hooks)
        )

    @classmethod
    def of(
        cls, attachment: "Attachment", teachers: "Mapping[Block, Teacher | None]"
    ) -> "Chain | None":
        """Return the fused form of the attachment's model, or None where it has none."""
        model, blocks = attachment.model, attachment.blocks
        modules = [module for block in blocks for _, module in block.modules]
        if type(model) is not nn.Sequential or modules != [model[i] for i in range(len(model))]:
            return None
        flattens = isinstance(modules[0], nn.Flatten) and modules[0].start_dim == 1
        layers = []
        for i, block in enumerate(blocks):
            parts = [m for _, m in block.modules][flattens and i == 0 :]
            cut = block in teachers
            if cut == (i == len(blocks) - 1) or not _is_layer(parts, activated=cut):
                return None
            kind = type(parts[1]) if len(parts) == 2 else None
            layers.append(Layer(parts[0], kind, teachers.get(block), block.stream))  # type: ignore[arg-type]
        tables = [table for module in modules for table in _hook_tables(module)]
        return cls(attachment, layers, [(table, len(table)) for table in tables])


def _is_layer(parts: Sequence[nn.Module], activated: bool) -> bool:
    """Whether these are a plain linear layer and, if allowed, one known activation."""
    plain = all("forward" not in vars(part) for part in parts)
    activations = parts[1:]
    return (
        plain
        and len(parts) > 0
        and type(parts[0]) is nn.Linear
        and len(activations) <= int(activated)
        and all(type(part) in ACTIVATIONS for part in activations)
    )


def _hook_tables(module: nn.Module) -> list[dict[int, Any]]:
    return [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]
