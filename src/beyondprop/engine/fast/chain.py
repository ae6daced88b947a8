"""A plain chain taps its blocks itself: in small networks, hooks would cost more than DFA saves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from beyondprop.engine.blocks import Block, is_chain
from beyondprop.engine.detach import Cut, Lesson
from beyondprop.engine.fast.fused import (
    ACTIVATIONS,
    FusedChain,
    Hidden,
    hidden_states,
)
from beyondprop.errors import changed

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment

FUSED = 2**21
"""Numbers that all activations of a fused chain may have together: 8 MiB in float32."""

LINEAR = {nn.Linear}


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
        children = tuple(self._modules.values())
        if children != self._children:
            odd = set(children).symmetric_difference(self._children)
            raise changed(next((type(module).__name__ for module in odd), "order of the chain"))
        fused = self._fused
        parameters = fused.parameters(input) if fused is not None else None
        if fused is not None and parameters is not None:
            lesson = attachment.new_lesson() if attachment.schedule is None else None
            if lesson is not None:  # nothing in there asks for it: it need not be opened
                return fused.run(input, lesson, parameters)
        try:
            attachment.begin(input)
            return self._taught(attachment, input)
        finally:
            attachment.close()

    def _taught(self, attachment: "Attachment", input: Any) -> Any:
        lesson = attachment.lesson
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
        hidden: What follows each but the last.
        hooks: The hook tables of all modules: where a user has hooked one, it must be called.
        taught: Whether any hidden layer learns.
        width: The features of all hidden layers together.
    """

    linears: Sequence[nn.Linear]
    hidden: Sequence[Hidden]
    hooks: Sequence[Mapping[int, Any]]
    taught: bool
    width: int

    def parameters(self, x: Any) -> list[Any] | None:
        """Return weight, bias, weight, …, or None if this batch cannot or should not be fused."""
        if (
            torch.compiler.is_compiling()
            or not isinstance(x, Tensor)
            or x.dim() != 2
            or x.shape[0] * self.width > FUSED
            or any(self.hooks)
            or not LINEAR.issuperset(map(type, self.linears))
            or torch.is_autocast_enabled(x.device.type)
        ):
            return None
        found: list[Any] = []
        try:  # as attributes they would take as long to look up as a product takes
            for linear in self.linears:
                own = linear._parameters
                found += own["weight"], own["bias"]
        except KeyError:  # replaced by what is no parameter
            return None
        weight = found[0]
        return found if x.shape[1] == weight.shape[1] and x.dtype == weight.dtype else None

    def run(self, x: Tensor, lesson: Lesson, parameters: Sequence[Any]) -> Tensor:
        """Return the output, with a graph that teaches."""
        if self.taught:
            output: Tensor = FusedChain.apply(x, lesson, self.hidden, *parameters)
            return output
        with torch.no_grad():
            states = hidden_states(x, self.hidden, parameters)
        return nn.functional.linear(states[-1], *parameters[-2:])


def is_plain_chain(model: nn.Module, blocks: Sequence[Block]) -> bool:
    """Whether the model is an `nn.Sequential`, and the blocks hold all its children in order."""
    parts = [module for block in blocks for _, module in block.modules]
    return is_chain(model) and type(model) is nn.Sequential and parts == list(model)


def fuse(blocks: Sequence[Block], cuts: Mapping[Block, Cut]) -> Fused | None:
    """Return the fused form of a chain, or None where it has none."""
    parts = [[module for _, module in block.modules] for block in blocks]
    hidden = [block for block in blocks if block in cuts]
    fusable = (
        hidden == list(blocks[:-1])
        and all(len(p) == 2 and type(p[1]) in ACTIVATIONS for p in parts[:-1])
        and len(parts[-1]) == 1
        and all(type(p[0]) is nn.Linear for p in parts)
        and not any("forward" in vars(module) for p in parts for module in p)
        and not any(cut.reader or cut.learner or cut.state for cut in cuts.values())
    )
    if not fusable:
        return None
    linears: list[Any] = [p[0] for p in parts]
    layers: list[Hidden] = []
    before = None
    for linear, (_, activation), block in zip(linears, parts[:-1], hidden, strict=False):
        signal = linear.out_features, cuts[block].key
        layers.append(Hidden(type(activation), cuts[block], signal == before))
        before = signal
    return Fused(
        linears,
        layers,
        [table for p in parts for module in p for table in _hook_tables(module)],
        taught=any(layer.cut.teacher is not None for layer in layers),
        width=sum(linear.out_features for linear in linears[:-1]),
    )


def _hook_tables(module: nn.Module) -> list[dict[int, Any]]:
    return [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]
