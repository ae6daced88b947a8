"""The graphs of a piece: which layer's output reaches which layer, by `torch.fx`."""

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
"""What a module is called with, by position and by name."""


@dataclass(frozen=True)
class Graph:
    """What a part of a piece computes.

    Attributes:
        prefix: The part's name in the piece, with a dot behind; empty for the piece itself.
        graph: Its operations and layers, in their order.
    """

    prefix: str
    graph: fx.Graph

    def name(self, node: fx.Node) -> str:
        """Return the name in the piece of the module that a node calls."""
        return f"{self.prefix}{node.target}"


@dataclass
class Traced:
    """The graphs of a piece, and what of it has none.

    Attributes:
        model: A copy of the piece, which can be looked into.
        inputs: What each module that runs once is called with, by name.
        graphs: Of the piece, or of the largest parts of it that could be traced.
        failed: Why `torch.fx` could not trace the piece as a whole; empty where it could.
    """

    model: nn.Module
    inputs: Mapping[str, Inputs]
    graphs: list[Graph] = field(default_factory=list)
    failed: str = ""


def traced(piece: nn.Module, call: Call) -> Traced:
    """Return the graphs of a piece, of which a copy is run and traced.

    A piece whose own code cannot be traced, as it decides by what it gets, is traced in parts.
    """
    model = copy.deepcopy(piece)
    found = Traced(model, _inputs(model, call))
    _trace("", model, found)
    return found


def _inputs(model: nn.Module, call: Call) -> dict[str, Inputs]:
    """Return what each module that runs once in a call is called with."""
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
    """Add the graph of a part, or those of the parts within it."""
    if name not in found.inputs:
        return
    try:
        graph = Tracer().trace(module, dict(_constants(module, found.inputs[name])))
    except Exception as error:  # whatever the code of a module does with what is no tensor
        found.failed = found.failed or f"{type(module).__name__}: {' '.join(str(error).split())}"
        for inner, child in module.named_children():
            _trace(f"{name}.{inner}" if name else inner, child, found)
    else:
        found.graphs.append(Graph(f"{name}." if name else "", graph))


class Tracer(fx.Tracer):
    """Looks into all modules but those of PyTorch, and Hugging Face's linear layer."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module stays one node."""
        return is_transposed(m) or super().is_leaf_module(m, module_qualified_name)


def _constants(module: nn.Module, inputs: Inputs) -> Iterator[tuple[str, Any]]:
    """Yield the arguments that hold no tensor, by name: the code may decide by them."""
    arguments, keywords = inputs
    bound = inspect.signature(module.forward).bind(*arguments, **keywords)
    bound.apply_defaults()
    for name, parameter in bound.signature.parameters.items():
        value = bound.arguments[name]
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if not variadic and next(leaves(value), None) is None:
            yield name, value
