"""The graphs of a piece, traced by `torch.fx`: which layer's output reaches which layer."""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from beyondprop._torch.pytrees import leaves
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.layers import is_transposed
from beyondprop.neighbourhoods.candidates.students import answer

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""A module's positional and keyword arguments."""


@dataclass(frozen=True)
class Graph:
    """The computation of a part of a piece.

    Attributes:
        prefix: The part's name in the piece and a dot; empty for the piece itself.
        graph: Its operations and layers, in order.
    """

    prefix: str
    graph: fx.Graph

    def name(self, node: fx.Node) -> str:
        """Return the name in the piece of the module that a node calls."""
        return f"{self.prefix}{node.target}"


@dataclass
class Traced:
    """The graphs of a piece, and why it could not be traced completely.

    Attributes:
        model: A copy of the piece, for inspection.
        inputs: The arguments of each module that runs once, by name.
        graphs: The graph of the piece, or those of its largest parts that could be traced.
        failed: Why `torch.fx` could not trace the complete piece; empty if it could.
    """

    model: nn.Module
    inputs: Mapping[str, Inputs]
    graphs: list[Graph] = field(default_factory=list)
    failed: str = ""


def traced(piece: nn.Module, call: Call) -> Traced:
    """Return the graphs of a piece; runs and traces a copy of it.

    A piece whose own code cannot be traced, because it branches on its inputs, is traced in parts.
    """
    model = copy.deepcopy(piece)
    found = Traced(model, _inputs(model, call))
    _trace("", model, found)
    return found


def _inputs(model: nn.Module, call: Call) -> dict[str, Inputs]:
    """Return the arguments of each module that runs once in a call."""
    seen: dict[str, Inputs] = {}
    times: Counter[str] = Counter()
    hooks = []
    for name, module in model.named_modules():

        def keep(_: nn.Module, arguments: Any, keywords: Any, name: str = name) -> None:
            seen[name] = arguments, keywords
            times[name] += 1

        hooks.append(module.register_forward_pre_hook(keep, with_kwargs=True))
    answer(model, call)
    for hook in hooks:
        hook.remove()
    return {name: inputs for name, inputs in seen.items() if times[name] == 1}


def _trace(name: str, module: nn.Module, found: Traced) -> None:
    """Add the graph of a part, or the graphs of its children."""
    if name not in found.inputs:
        return
    try:
        graph = Tracer().trace(module, dict(_constants(module, found.inputs[name])))
    except Exception as error:  # a module's code may do anything with a value that is not a tensor
        found.failed = found.failed or f"{type(module).__name__}: {' '.join(str(error).split())}"
        for inner, child in module.named_children():
            _trace(f"{name}.{inner}" if name else inner, child, found)
    else:
        found.graphs.append(Graph(f"{name}." if name else "", graph))


class Tracer(fx.Tracer):
    """Traces into all modules except PyTorch's own and Hugging Face's linear layer."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module stays one node."""
        return is_transposed(m) or super().is_leaf_module(m, module_qualified_name)


def _constants(module: nn.Module, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """Yield the arguments that hold no tensor, by name, on which the code may branch."""
    arguments, keywords = inputs
    bound = inspect.signature(module.forward).bind(*arguments, **keywords)
    bound.apply_defaults()
    for name, parameter in bound.signature.parameters.items():
        value = bound.arguments[name]
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not variadic and next(leaves(value), None) is None:
            yield name, value
