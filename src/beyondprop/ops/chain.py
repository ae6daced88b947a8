"""A chain of linear layers as one operation, for networks so small that overhead decides.

At width 64 and batch 32 the matrix products are the smaller part of a step; most of it is the
bookkeeping of autograd and of module calls. Here the whole chain is one node of the graph, and as
no layer waits for another's error, the backward pass takes all layers of one width at once. The
signals come from the same rules as at the taps, so nothing is implemented twice.

What it costs: all activations are kept until the backward pass ends, where autograd would free them
block by block. So it only serves batches whose activations are small (`LARGEST`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..teach import Teacher
from .fused import ACTIVATIONS, FusedChain, Run

if TYPE_CHECKING:
    from ..attachment import Attachment
    from ..blocks import Block

LARGEST = 2**16
"""The most numbers in one activation for which overhead outweighs freeing it early."""


class FusedSequential(nn.Sequential):
    """A chain under direct rules; made by swapping the class of a plain `nn.Sequential`."""

    def forward(self, input: Any) -> Any:
        """Compute the chain as one node where that pays, else child by child."""
        chain: Chain | None = vars(self).get("_chain")
        if chain is None:
            return super().forward(input)  # type: ignore[no-untyped-call]
        attachment = chain.attachment
        attachment.begin()
        if attachment.lesson is None or not chain.fits(input):
            return attachment.end(super().forward(input))  # type: ignore[no-untyped-call]
        lesson, attachment.lesson = attachment.lesson, None
        x = input if input.dim() == 2 else input.flatten(1)
        parameters = [p for linear in chain.linears for p in (linear.weight, linear.bias)]
        return FusedChain.apply(x, lesson, chain.runs, *parameters)


@dataclass(frozen=True, eq=False)
class Chain:
    """What a `FusedSequential` needs to know of its layers.

    Attributes:
        attachment: Where the lesson of the forward pass under way is.
        runs: The hidden layers in order.
        linears: All linear layers in order, the output layer last.
        hooks: The hook tables of all children.
        own_hooks: How many entries are our own; where a user has added hooks, the children must
            really be called.
    """

    attachment: "Attachment"
    runs: Sequence[Run]
    linears: Sequence[nn.Linear]
    hooks: Sequence[dict[int, Any]]
    own_hooks: int

    @cached_property
    def widest(self) -> int:
        """The largest number of features of an activation."""
        return max(linear.out_features for linear in self.linears)

    def fits(self, x: Any) -> bool:
        """Whether this batch can and should go through the fused form."""
        first = self.linears[0]
        return (
            isinstance(x, Tensor)
            and x.dim() >= 2
            and x.shape[0] * self.widest <= LARGEST
            and x.shape[0] * first.in_features == x.numel()
            and x.dtype == first.weight.dtype
            and not torch.is_autocast_enabled(x.device.type)
            and sum(map(len, self.hooks)) == self.own_hooks
            and set(map(type, self.linears)) == {nn.Linear}
            and not torch.compiler.is_compiling()
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
        parts = [[module for _, module in block.modules] for block in blocks]
        parts[0] = parts[0][flattens:]
        hidden = blocks[:-1]
        taught = bool(hidden) and all(block in teachers for block in hidden)
        if not taught or blocks[-1] in teachers or not all(map(_is_layer, parts)):
            return None
        if len(parts[-1]) != 1:
            return None
        linears: list[Any] = [layer[0] for layer in parts]
        layers = [
            (linear.out_features, type((*layer, nn.Identity())[1]), teachers[block], block.stream)
            for linear, layer, block in zip(linears, parts, hidden, strict=False)
        ]
        tables = [table for module in modules for table in _hook_tables(module)]
        return cls(attachment, _runs(linears, layers), linears, tables, sum(map(len, tables)))


def _runs(linears: Sequence[nn.Linear], layers: Sequence[tuple[Any, ...]]) -> list[Run]:
    """Group hidden layers, each (width, activation, teacher, stream), that can go as one."""
    remaining = iter(linears)
    runs = []
    for (_, activation, _), group in groupby(layers, key=lambda layer: (*layer[:2], id(layer[2]))):
        members = list(group)
        ours = tuple(next(remaining) for _ in members)
        runs.append(Run(ours, activation, members[0][2], tuple(layer[3] for layer in members)))
    return runs


def _is_layer(parts: Sequence[nn.Module]) -> bool:
    """Whether these are a plain linear layer and at most one known activation."""
    return (
        0 < len(parts) <= 2
        and type(parts[0]) is nn.Linear
        and all(type(part) in ACTIVATIONS for part in parts[1:])
        and all("forward" not in vars(part) for part in parts)
    )


def _hook_tables(module: nn.Module) -> list[dict[int, Any]]:
    return [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]
