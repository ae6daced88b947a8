"""Layers that can be narrowed together, because they write or read the same channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from torch import Tensor, fx, nn

from beyondprop._torch.pytrees import leaves
from beyondprop.neighbourhoods.candidates.graphs import Graph, Traced
from beyondprop.neighbourhoods.candidates.layers import (
    NORMS,
    is_depthwise,
    is_layer,
    is_linear,
    sizes,
)
from beyondprop.neighbourhoods.candidates.passing import is_elementwise, is_flatten, is_pool
from beyondprop.neighbourhoods.candidates.students import free


@dataclass(frozen=True)
class Run:
    """Channels that nothing else reads, by the names of layers in the piece.

    Attributes:
        channels: The number of channels.
        writers: Layers that output the channels, summed or multiplied if there are several.
        between: Norms and depthwise convolutions of the channels, each with the name of the writer
            that it reads directly and alone, or an empty name.
        readers: Layers that read the channels, each with its number of inputs for one channel.
    """

    channels: int
    writers: tuple[str, ...]
    between: dict[str, str]
    readers: dict[str, int]


class Form(Enum):
    """The axis of a tensor's channels."""

    MAPS = auto()
    """In the second axis."""
    ROWS = auto()
    """In the last axis."""
    FLAT = auto()
    """In the last axis, where each channel covers the values of all its positions."""


def runs(traced: Traced) -> list[Run]:
    """Return all runs of a piece."""
    modules = {name: one for name, one in free(traced.model).items() if name in traced.inputs}
    found = [run for each in traced.graphs for run in Finder(each, traced, modules).runs()]
    used = {name for run in found for name in run.writers}
    for name, module in traced.model.named_modules():
        # Their own code branches on input shapes, so it cannot be traced.
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            first, second = (f"{name}.{own}" if name else own for own in ("linear1", "linear2"))
            if first in modules and second in modules and first not in used:
                found.append(Run(sizes(modules[first])[0], (first,), {}, {second: 1}))
    return found


@dataclass
class Channels:
    """Nodes whose outputs have the same channels."""

    values: set[fx.Node] = field(default_factory=set)
    readers: set[fx.Node] = field(default_factory=set)


@dataclass
class Finder:
    """Finds the runs in one graph.

    Attributes:
        graph: The graph.
        traced: The complete piece.
        modules: Modules that run once and share no weights, by name.
    """

    graph: Graph
    traced: Traced
    modules: dict[str, nn.Module]

    def runs(self) -> Iterator[Run]:
        """Yield the runs, in the order of their readers."""
        done: set[fx.Node] = set()
        for node in self.graph.graph.nodes:
            if self.is_layer(node) and node not in done:
                channels = self.channels(read(node)[0])
                if channels is not None:
                    done |= channels.readers
                    run = self.run(channels)
                    if run is not None:
                        yield run

    def module(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a node calls; None for an operation."""
        called = node.op == "call_module"
        return self.traced.model.get_submodule(self.graph.name(node)) if called else None

    def own(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a node calls if it can be pruned, else None."""
        return self.modules.get(self.graph.name(node)) if node.op == "call_module" else None

    def is_layer(self, node: fx.Node) -> bool:
        """Whether a node is a layer that can be pruned."""
        found = self.own(node)
        return found is not None and is_layer(found)

    def is_norm(self, node: fx.Node) -> bool:
        """Whether a node is a norm or depthwise convolution that can be pruned."""
        found = self.own(node)
        return found is not None and (type(found) in NORMS or is_depthwise(found))

    def passes(self, node: fx.Node) -> bool:
        """Whether a node's output has the same channels as its inputs."""
        module = self.module(node)
        return self.is_norm(node) or any(
            kind(node, module) for kind in (is_elementwise, is_pool, is_flatten)
        )

    def channels(self, start: fx.Node) -> Channels | None:
        """Return the nodes that share a node's channels; None if another operation uses them."""
        found, left = Channels(), [start]
        while left:
            node = left.pop()
            if not (self.is_layer(node) or self.passes(node)):
                return None
            if node in found.values:
                continue
            found.values.add(node)
            if not self.is_layer(node):
                left += read(node)
            for user in node.users:
                if self.is_layer(user):
                    found.readers.add(user)
                else:
                    left.append(user)
        return found

    def run(self, found: Channels) -> Run | None:
        """Return the run of these channels; None if their axes or counts don't match."""
        forms = self.forms(found)
        writers = [node for node in found.values if self.is_layer(node)]
        counts = {sizes(self.modules[self.graph.name(node)])[0] for node in writers}
        if forms is None or len(counts) != 1:
            return None
        (count,) = counts
        readers = {}
        for node in found.readers:
            inputs = sizes(self.modules[self.graph.name(node)])[1]
            if inputs % count or (forms[read(node)[0]] is not Form.FLAT and inputs != count):
                return None
            readers[self.graph.name(node)] = inputs // count
        norms = [node for node in found.values if self.is_norm(node)]
        between = {self.graph.name(node): self.only_writer(node) for node in norms}
        names = tuple(self.graph.name(node) for node in self.graph.graph.nodes if node in writers)
        return Run(count, names, between, readers)

    def forms(self, found: Channels) -> dict[fx.Node, Form] | None:
        """Return each value's channel axis; None if a layer reads channels from another axis."""
        forms: dict[fx.Node, Form] = {}
        for node in (each for each in self.graph.graph.nodes if each in found.values):
            form = self.form(node, {forms[each] for each in read(node) if each in forms})
            if form is None:
                return None
            forms[node] = form
        for node in found.readers:
            linear = is_linear(self.modules[self.graph.name(node)])
            if linear is (forms[read(node)[0]] is Form.MAPS) or not self.batched(node):
                return None
        return forms

    def form(self, node: fx.Node, before: set[Form]) -> Form | None:
        """Return a value's channel axis, given those of its inputs."""
        module = self.module(node)
        if module is not None and self.is_layer(node):
            kind = Form.ROWS if is_linear(module) else Form.MAPS
            return kind if self.batched(node) else None
        if len(before) != 1:
            return None
        (form,) = before
        if is_flatten(node, module):
            return Form.FLAT if form is Form.MAPS else None
        if is_pool(node, module) or (module is not None and is_depthwise(module)):
            return form if form is Form.MAPS else None
        if self.is_norm(node):
            rows = form is Form.ROWS and self.input(node).dim() == 2
            return form if form is Form.MAPS or rows else None
        return form

    def batched(self, node: fx.Node) -> bool:
        """Whether a convolution's input has a batch axis; always true for a linear layer."""
        module = self.modules[self.graph.name(node)]
        dims = module.get_parameter("weight").dim()
        return is_linear(module) or self.input(node).dim() == dims

    def input(self, node: fx.Node) -> Tensor:
        """Return a module's first input tensor in the call."""
        return next(leaves(self.traced.inputs[self.graph.name(node)]))

    def only_writer(self, norm: fx.Node) -> str:
        """Return the layer that only this norm reads, or an empty name."""
        (before,) = read(norm)
        alone = self.is_layer(before) and set(before.users) == {norm}
        return self.graph.name(before) if alone else ""


def read(node: fx.Node) -> list[fx.Node]:
    """Return the nodes that a node reads."""
    return node.all_input_nodes
