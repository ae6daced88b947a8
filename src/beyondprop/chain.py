"""A plain chain taps its blocks itself: in small networks, hooks would cost more than DFA saves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .blocks import Block, is_chain
from .errors import changed
from .ops.fused import ACTIVATIONS, FusedChain, Run
from .teach import ROOM, Cut

if TYPE_CHECKING:
    from .attachment import Attachment

DEEP = 7
"""Linear layers from which the fused form is quicker, as measured by benchmarks/step_time.py."""


class TaughtSequential(nn.Sequential):
    """An `nn.Sequential` under rules that cut; made by swapping the class of a plain one."""

    _chain: "Sequence[tuple[Sequence[nn.Module], Cut | None]]"
    _fused: "Fused | None"
    _children: tuple[nn.Module, ...]

    def forward(self, input: Any) -> Any:
        """Run the children one after another, with a cut behind each block that has one."""
        attachment: Attachment | None = vars(self).get("_beyondprop")
        if attachment is None:  # a slice of the model that was attached to
            return super().forward(input)  # type: ignore[no-untyped-call]
        try:
            attachment.begin()
            return self._taught(attachment, input)
        finally:
            attachment.close()

    def _taught(self, attachment: "Attachment", input: Any) -> Any:
        children = tuple(self)
        if children != self._children:
            odd = set(children).symmetric_difference(self._children)
            raise changed(next((type(module).__name__ for module in odd), "order of the chain"))
        lesson, fused = attachment.lesson, self._fused
        if lesson is not None and fused is not None and fused.fits(input):
            parameters = [p for linear in fused.linears for p in (linear.weight, linear.bias)]
            return FusedChain.apply(input, lesson, fused.runs, *parameters)
        for modules, cut in self._chain:
            for module in modules:
                input = module(input)
            if lesson is not None and cut is not None:
                input = lesson.tap(input, cut)
        return attachment.end(input)


@dataclass(frozen=True, eq=False)
class Fused:
    """What a chain of linear layers needs to run as one operation.

    Attributes:
        linears: All linear layers in order, the output layer last.
        runs: The hidden ones, grouped.
        hooks: The hook tables of all modules: where a user has hooked one, it must be called.
    """

    linears: Sequence[nn.Linear]
    runs: Sequence[Run]
    hooks: Sequence[Mapping[int, Any]]

    @cached_property
    def width(self) -> int:
        """The features of all hidden layers together."""
        return sum(linear.out_features for linear in self.linears[:-1])

    def fits(self, x: Any) -> bool:
        """Whether this batch can and should go through the fused form."""
        first = self.linears[0]
        return (
            isinstance(x, Tensor)
            and x.dim() == 2
            and x.shape[1] == first.in_features
            and x.shape[0] * self.width <= ROOM
            and x.dtype == first.weight.dtype
            and not any(self.hooks)
            and set(map(type, self.linears)) == {nn.Linear}
            and not torch.is_autocast_enabled(x.device.type)
            and not torch.compiler.is_compiling()
        )


def is_plain_chain(model: nn.Module, blocks: Sequence[Block]) -> bool:
    """Whether the model is an `nn.Sequential`, and the blocks hold all its children in order."""
    parts = [module for block in blocks for _, module in block.modules]
    return is_chain(model) and type(model) is nn.Sequential and parts == list(model)


def fuse(blocks: Sequence[Block], cuts: Mapping[Block, Cut]) -> Fused | None:
    """Return the fused form of a chain, or None where it has none or is too shallow to gain."""
    parts = [[module for _, module in block.modules] for block in blocks]
    hidden = [block for block in blocks if block in cuts]
    fusable = (
        len(blocks) >= DEEP
        and hidden == list(blocks[:-1])
        and all(len(p) == 2 and type(p[1]) in ACTIVATIONS for p in parts[:-1])
        and len(parts[-1]) == 1
        and all(type(p[0]) is nn.Linear for p in parts)
        and not any("forward" in vars(module) for p in parts for module in p)
    )
    if not fusable:
        return None
    linears: list[Any] = [p[0] for p in parts]
    layers = list(zip(linears, parts, [cuts[block] for block in hidden], strict=False))
    alike = groupby(layers, key=lambda v: (v[0].out_features, type(v[1][1]), v[2].key))
    groups = [list(group) for _, group in alike]
    runs = [Run([v[0] for v in g], type(g[0][1][1]), g[0][2]) for g in groups]
    return Fused(linears, runs, [table for p in parts for m in p for table in _hook_tables(m)])


def _hook_tables(module: nn.Module) -> list[dict[int, Any]]:
    return [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]
