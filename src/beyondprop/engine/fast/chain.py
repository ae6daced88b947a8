"""Plain chains that end the graphs of their blocks without hooks, which slow small networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import call
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.modules import children, is_chain
from beyondprop._torch.private import hook_tables, own_parameters
from beyondprop._torch.pytrees import leaves
from beyondprop._torch.tracing import TRACERS, check_run, traced
from beyondprop.core import Block, ForwardPass
from beyondprop.engine.detach import BySignal, Taught, detach
from beyondprop.engine.fast.fused import ACTIVATIONS, FusedChain, Hidden, hidden_states
from beyondprop.engine.forms import Form
from beyondprop.engine.passes import Passes
from beyondprop.engine.scale import ScaleWatch
from beyondprop.engine.settings import SETTINGS
from beyondprop.errors import changed

LINEAR = {nn.Linear}


class TaughtSequential(nn.Sequential):
    """An `nn.Sequential` that ends the graphs of its blocks; a plain one gets this class."""

    _passes: Passes
    _chain: Sequence[tuple[Block, Sequence[nn.Module], Taught | None]]
    _fused: "Fused | None"
    _children: tuple[nn.Module, ...]

    def forward(self, input: Any) -> Any:
        """Run the children one after another, and end the graph after each block."""
        passes: Passes | None = vars(self).get("_passes")
        if passes is None:  # a slice of the model that was attached to
            return super().forward(input)  # type: ignore[no-untyped-call]
        children = tuple(self)
        if children != self._children:
            odd = set(children).symmetric_difference(self._children)
            raise changed(next((type(module).__name__ for module in odd), "order of the chain"))
        fused = self._fused
        parameters = fused.parameters(input) if fused is not None else None
        if fused is not None and parameters is not None and passes.schedule is None:
            run = passes.new_run(input)  # a fused chain needs no open pass
            if run is not None:
                return fused.run(input, run, parameters, passes.watch)
        taught = torch.is_grad_enabled() and not passes.mode.exact
        if taught and not isinstance(input, Tensor):
            check_run(input)
        try:
            passes.before_model(self, (input,), {})
            return passes.after_model(self, input, self._blockwise(input))
        finally:
            passes.close_model(self, input, None)

    def _blockwise(self, input: Any) -> Any:
        open_pass = self._passes.current.open_pass
        for block, modules, taught in self._chain:
            if open_pass is not None and taught is not None and taught.reads_input:
                for tensor in islice(leaves(input), 1):
                    open_pass.inputs[block] = tensor.detach()
            for module in modules:
                input = module(input)
            if open_pass is not None and taught is not None:
                input = detach(input, taught, open_pass)
        return input


class Chain(Form):
    """An `nn.Sequential` whose blocks hold all its children in order."""

    def suits(self, passes: Passes) -> bool:
        """Whether the model is such a chain."""
        parts = [module for block in passes.blocks for _, module in block.modules]
        model = passes.model
        plain = bool(passes.taught) and passes.output is None and passes.arguments is None
        plain = plain and all(block.axes.plain for block in passes.blocks)
        return plain and is_chain(model) and type(model) is nn.Sequential and parts == list(model)

    def install(self, passes: Passes) -> "SwappedChain":
        """Give the model the class that ends the graphs."""
        return SwappedChain(passes)


class SwappedChain:
    """A chain that has another class until `remove` is called."""

    def __init__(self, passes: Passes) -> None:
        self.model = passes.model
        self.model.__class__ = TaughtSequential
        vars(self.model)["_passes"] = passes
        vars(self.model)["_chain"] = [
            (block, [module for _, module in block.modules], passes.taught.get(block))
            for block in passes.blocks
        ]
        vars(self.model)["_children"] = tuple(module for _, module in children(self.model))
        vars(self.model)["_fused"] = fuse(passes.blocks, passes.taught)

    def remove(self) -> None:
        """Restore the model's own class."""
        self.model.__class__ = nn.Sequential
        for name in ("_passes", "_chain", "_children", "_fused"):
            vars(self.model).pop(name, None)


@dataclass(frozen=True, eq=False)
class Fused:
    """The data with which a chain of linear layers runs as one operation.

    Attributes:
        linears: All linear layers in order, the output layer last.
        hidden: The activation after each but the last, and the end of its block.
        hooks: The hook tables of all modules; if the user adds a hook, the chain is not fused.
        taught: Whether any hidden layer learns.
        width: Total number of features of all hidden layers.
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
            or x.shape[0] * self.width > SETTINGS.fused_up_to
            or any(self.hooks)
            or not LINEAR.issuperset(map(type, self.linears))
            or torch.is_autocast_enabled(x.device.type)
        ):
            return None
        found: list[Any] = []
        try:  # an attribute access would take as long as a matrix product
            for linear in self.linears:
                own = own_parameters(linear)
                found += own["weight"], own["bias"]
        except KeyError:  # replaced by something other than a parameter
            return None
        weight = found[0]
        return found if x.shape[1] == weight.shape[1] and x.dtype == weight.dtype else None

    def run(
        self, x: Tensor, run: ForwardPass, parameters: Sequence[Any], watch: ScaleWatch | None
    ) -> Tensor:
        """Return the output, with the graph by which the rule teaches."""
        if any(map(call, TRACERS)):  # faster than check_run
            raise traced()
        if self.taught:
            output: Tensor = FusedChain.apply(x, run, self.hidden, watch, *parameters)
            return output
        with torch.no_grad():
            states = hidden_states(x, self.hidden, parameters)
        return nn.functional.linear(states[-1], *parameters[-2:])


def fuse(blocks: Sequence[Block], taught: Mapping[Block, Taught]) -> Fused | None:
    """Return the fused form of a chain, or None if it has none."""
    parts = [[module for _, module in block.modules] for block in blocks]
    hidden = [block for block in blocks if block in taught]
    fusable = (
        hidden == list(blocks[:-1])
        and all(len(p) == 2 and type(p[1]) in ACTIVATIONS for p in parts[:-1])
        and len(parts[-1]) == 1
        and all(type(p[0]) is nn.Linear for p in parts)
        and not any("forward" in vars(module) for p in parts for module in p)
        and all(each.fusable for each in taught.values())
    )
    if not fusable:
        return None
    linears: list[Any] = [p[0] for p in parts]
    layers: list[Hidden] = []
    before: Any = None
    for linear, (_, activation), block in zip(linears, parts[:-1], hidden, strict=False):
        end = taught[block]
        by_signal = end if isinstance(end, BySignal) else None
        signal = by_signal and (linear.out_features, by_signal.rule.same_signal(block))
        layers.append(Hidden(type(activation), by_signal, signal is not None and signal == before))
        before = signal
    return Fused(
        linears,
        layers,
        [table for p in parts for module in p for table in hook_tables(module)],
        taught=any(layer.taught is not None for layer in layers),
        width=sum(linear.out_features for linear in linears[:-1]),
    )
