"""BeyondProp on one page. A rule defines a block's teaching signal; the engine applies it.

forward   the graph ends after each taught block; the next block gets a detached copy
backward  the loss gives the output error; each end asks its rule for a signal, last block first

A rule is one of four kinds (`SignalRule`, `LossRule`, `LayerRule`, `ModelRule`), or it implements
`Rule.install` directly. Its `traits` declare what it needs. It draws no random numbers; projections
do. Only the engine changes models, and rules see only the `Host` part of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop._torch.functional import call_with
from beyondprop._torch.modules import is_made, parameters_of, submodules_of
from beyondprop.errors import UserError
from beyondprop.random.streams import stream_of
from beyondprop.registry import check_fields, settings
from beyondprop.shapes import TOKENS, Axes

State = dict[str, Tensor]
"""The tensors that a rule keeps between passes, by name; `start` returns all of them.

Checkpoints, copies of the model and the measure of isolation save and restore exactly these
tensors. Each has its final shape, or is empty or lazy until the first pass. Learned
tensors are `nn.Parameter` objects, which the user's optimizer updates. A rule replaces all others
and never changes them in place.
"""


@dataclass(frozen=True, eq=False)
class Block:
    """A part of the model that is taught as a unit; inside it the gradient is exact."""

    name: str  # of its first module (or parameter), as in `named_modules`
    rule: "Rule"  # teaches it
    modules: tuple[tuple[str, nn.Module], ...]  # in the order they run; the last makes the output
    owner: nn.Module  # the model
    loose: tuple[str, ...] = ()  # names of its parameters that belong to none of its modules
    axes: Axes = TOKENS  # meaning of the axes of its output
    around: tuple[str, nn.Module] | None = None  # a module that contains them and ends the block
    depth: float = 0.0  # among the blocks whose graphs end: 0 for the first, 1 for the last

    @cached_property
    def ways(self) -> tuple[tuple[str, nn.Module], ...]:
        """The modules that run, in order, up to the one that makes the block's output."""
        return self.modules if self.around is None else (*self.modules, self.around)

    @cached_property
    def stream(self) -> int:
        """The number of the block's random stream."""
        return stream_of(self.name)

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield every module in the block with its name in the model."""
        return submodules_of(self.modules)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return the block's parameters with their names in the model, each once."""
        return parameters_of(self.modules, self.owner, self.loose)


@dataclass(eq=False)
class ForwardPass:
    """State shared by one forward pass of the model and its backward passes."""

    inputs: Tensor | None = None  # the first tensor among the model's arguments
    targets: Tensor | None = None  # from the caller, by ``handle.targets`` or an argument
    training: bool = True  # whether the model is in training mode
    number: int = 0  # count of taught passes in training mode, including this one
    classes: int | None = None  # number of classes, if the model's last layer shows it
    hidden: bool = False  # whether the error is taken before the model's last layer
    axes: Axes = TOKENS  # meaning of the axes of the model's outputs
    samples: Tensor | None = None  # the sample of each node of graphs, if the caller passed it
    errors: Sequence[Tensor | None] = ()  # the loss's gradient at each output, in backward passes
    scale: Tensor | None = None  # factor by which the caller scaled the loss, if known
    shared: dict[Hashable, Any] = field(default_factory=dict)  # data of rules for this pass
    apart: bool = False  # whether a rule is running a block outside the model's own pass

    def run(self, block: Block, x: Tensor) -> Tensor:
        """Return a block's output for ``x`` outside the model's own pass; its buffers stay
        unchanged."""
        before, self.apart = self.apart, True
        try:
            for _, module in block.modules:
                buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
                x = call_with(module, buffers, (x,))
            return x
        finally:
            self.apart = before


@dataclass(eq=False)
class At:
    """The end of a block's graph in one forward pass, where a rule computes a signal or a loss."""

    block: Block
    run: ForwardPass
    state: State  # of the rule, for this block
    shape: torch.Size  # of the block's output, and so of its signal
    dtype: torch.dtype
    device: torch.device
    input: Tensor | None = None  # the block's input, detached; if needed
    output: Tensor | None = None  # for a signal detached; for a loss with the block's own graph,
    # and with the samples first
    axes: Axes = TOKENS  # meaning of the axes of `output`
    sent_back: Tensor | None = None  # by the next block, nearer the output: its message, or the
    # gradient at its input if it keeps its exact gradient; if needed
    message: Tensor | None = None  # set by a rule for the previous block
    gradients: State = field(default_factory=dict)  # set by a `SignalRule` for its learned state


@dataclass(eq=False)
class Mode:
    """Settings for the next forward passes, shared by everything attached to a model."""

    exact: int = 0  # open contexts of `exact_gradients`
    number: int = 0  # count of taught passes in training mode so far
    contexts: list[list["Mode"]] = field(default_factory=list)  # the open ones: the modes in each

    def __deepcopy__(self, memo: dict[int, Any]) -> "Mode":
        """Return a copy that is exact as long as the contexts in which it is made are open."""
        copy = Mode(self.exact, self.number, list(self.contexts))
        for context in self.contexts:
            context.append(copy)
        return copy

    def __getstate__(self) -> dict[str, Any]:  # a pickled model starts outside `exact_gradients`
        return {"exact": 0, "number": self.number, "contexts": []}


@dataclass(eq=False)
class AtWeight:
    """One weight of one layer, for which a layer rule returns feedback."""

    mode: Mode
    rule: "LayerRule"
    layer: nn.Module
    name: str  # of the weight in the layer
    stream: int  # number of the weight's random stream
    inputs: int  # number of inputs that one output of the layer sums over
    state: State = field(default_factory=dict)
    transposed: bool = False  # whether the layer stores it as (in, out)

    def weight(self) -> Tensor:
        """Return the weight, ``(out, in, ...)``."""
        found: Tensor = getattr(self.layer, self.name)
        return found.t() if self.transposed else found

    def owners(self) -> Sequence[Tensor]:
        """Return the tensors trained in addition to the state: the weight, or those it is computed
        from."""
        made = is_made(self.layer, self.name)
        return list(self.layer.parameters()) if made else [getattr(self.layer, self.name)]


NEEDS = frozenset({"error", "targets", "input", "output", "sent_back", "weights"})
"""What a rule may need: the error at the model's output, targets, the block's input or output, the
message from the next block, the weights of layers for a modified backward pass."""


@dataclass(frozen=True)
class Traits:
    """Properties of a rule for checks, schedules and records, which never test its class."""

    needs: frozenset[str] = frozenset()  # members of `NEEDS` that the engine must provide
    ends_graph: bool = False  # whether the block's signal is not the gradient of the next block
    learns: bool = True  # whether a block learns at all
    sends_gradient: bool = True  # whether an undetached block before it gets a gradient through it
    scales_with_loss: bool = True  # whether the signal scales with the loss
    exact_at_output: bool = False  # whether the block that makes the output keeps its gradient
    one_output: bool = False  # whether the model may have one output only
    whole_model: bool = False  # whether it runs the model itself, which excludes other rules
    alone: str = ""  # why it does not work on several processes; empty if it does
    averages: bool = False  # whether it would if gradients of the state were averaged too
    drawn_once: frozenset[str] = frozenset()  # projections that only draw a state's initial values
    samples: int = 1  # minimum batch size
    counts_passes: bool = False  # whether the signal depends on the number of the pass
    counts_classes: bool = False  # whether it reads the number of classes from the last layer

    def __post_init__(self) -> None:
        if not self.needs <= NEEDS:
            unknown = ", ".join(sorted(self.needs - NEEDS))
            raise UserError(f"a rule may need {', '.join(sorted(NEEDS))}, but not {unknown}")

    @property
    def exact(self) -> bool:
        """Whether a block learns from the unchanged gradient of the next block."""
        return self.learns and not (self.needs or self.ends_graph or self.whole_model)

    @property
    def immediate(self) -> bool:
        """Whether a block can learn as soon as it has run."""
        return not self.needs & {"error", "sent_back", "weights"}

    def but(self, **changes: Any) -> "Traits":
        """Return a copy of the traits with the given changes."""
        return replace(self, **changes)


class Rule(ABC):
    """The source of a block's teaching signal."""

    name: ClassVar[str]  # short, for the command line and records
    traits: ClassVar[Traits] = Traits()

    def __post_init__(self) -> None:
        check_fields(self)  # only dataclasses call this

    @abstractmethod
    def install(self, block: Block, host: "Host") -> str:
        """Make the host change how the block is taught; return a short description of the
        change."""

    def problems(self, block: Block) -> Iterator[str]:  # noqa: ARG002
        """Yield a sentence for each reason why this rule cannot teach the block."""
        yield from ()

    def settings(self) -> dict[str, Any]:
        """Return the settings that rebuild the same rule, as JSON values."""
        return settings(self, "rule")


class SignalRule(Rule):
    """A rule that replaces the gradient at a block's output by a signal."""

    @abstractmethod
    def signal(self, at: At) -> Tensor:
        """Return the signal, shaped like the block's output."""

    def start(self, block: Block) -> State:  # noqa: ARG002
        """Return the block's initial state."""
        return {}

    def prepare(self, at: At, errors: torch.Size) -> None:
        """Fill in the state in a forward pass, before `signal` is called in the backward pass.

        Args:
            at: The end of the block.
            errors: Shape of the model's output; empty for a rule that needs "sent_back", which is
                prepared as soon as the block has run.
        """

    def same_signal(self, block: Block) -> Hashable:
        """Return a key; blocks with the same key and matching outputs get the same signal.

        Outputs match if they have the same shape, dtype, device and meaning of axes. The signal is
        then computed once per backward pass.
        """
        return block.name

    def install(self, block: Block, host: "Host") -> str:
        """End the graph at the block's output."""
        host.end_by_signal(block, self, self.start(block))
        return "output detached: the rule gives it a signal"


class LossRule(Rule):
    """A rule that gives each block its own loss."""

    @abstractmethod
    def loss(self, at: At) -> Tensor:
        """Return the loss, a scalar whose graph covers only this block and its state."""

    def start(self, block: Block) -> State:  # noqa: ARG002
        """Return the block's initial state."""
        return {}

    def install(self, block: Block, host: "Host") -> str:
        """End the graph at the block's output."""
        state = self.start(block)
        host.end_by_loss(block, self, state)
        head = f", of a head with {', '.join(state)}" if state else ""
        return f"output detached: it learns by its own loss{head}"


@dataclass(frozen=True)
class LayerRule(Rule):
    """A rule that replaces each layer's weight in the backward pass by another matrix.

    Args:
        exact: Names or `fnmatch` patterns of modules, and of parameters outside layers, that keep
            their exact backward pass although they carry errors through weights; the report names
            them.
    """

    traits: ClassVar[Traits] = Traits(frozenset({"weights"}))
    of_weight_alone: ClassVar[bool] = False  # whether the matrix can be made during backward
    exact: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        given: Any = self.exact
        if isinstance(given, str):
            raise UserError(f"exact= takes a tuple of names: write exact=('{given}',)")
        super().__post_init__()

    @abstractmethod
    def feedback(self, weight: Tensor, at: AtWeight) -> Tensor:
        """Return a replacement for the (detached) weight, with its shape and dtype."""

    def start(self, weight: Tensor, at: AtWeight) -> State:  # noqa: ARG002
        """Return the weight's initial state."""
        return {}

    def keeps_exact(self, name: str) -> bool:
        """Whether the module of this name, or one that contains it, keeps its exact backward
        pass."""
        parts = name.split(".")
        outer = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(each, pattern) for each in outer for pattern in self.exact)

    def install(self, block: Block, host: "Host") -> str:
        """Give each layer of the block that has weights its own backward pass."""
        return host.swap_layers(block, self)


class ModelRule(Rule):
    """A rule that runs the model's forward pass and computes all gradients without a graph."""

    traits: ClassVar[Traits] = Traits(frozenset({"error"}), whole_model=True)

    @abstractmethod
    def forward(self, call: "ModelCall") -> "ModelResult":
        """Run the forward pass; gradients are switched off."""

    def start(self, model: nn.Module) -> State:  # noqa: ARG002
        """Return the model's initial state."""
        return {}

    def install(self, block: Block, host: "Host") -> str:  # noqa: ARG002
        """Let the rule run the model's forward pass."""
        host.replace_forward(self)
        return "runs the model itself, without a graph"


@dataclass(frozen=True, eq=False)
class ModelCall:
    """A forward pass for a `ModelRule` to run."""

    model: nn.Module
    parameters: Mapping[str, Tensor]  # all parameters of the model by name, frozen ones included
    inputs: tuple[Any, ...]  # the model's positional arguments
    keywords: Mapping[str, Any]
    run: ForwardPass
    state: State
    plain: nn.Module  # runs the model's own forward pass; its attribute ``model`` is the model

    def outputs(self, others: Mapping[str, Tensor]) -> Any:
        """Return the outputs of the model's own forward pass with other tensors as parameters."""
        named = {f"model.{name}": tensor for name, tensor in others.items()}
        return call_with(self.plain, named, self.inputs, self.keywords)


@dataclass(frozen=True, eq=False)
class ModelResult:
    """The result of a forward pass."""

    outputs: Any  # the model's return value, without a graph
    taught: Sequence[Tensor]  # the tensors in it that can receive an error
    kept: Sequence[Tensor]  # tensors to keep until the backward pass
    # (errors, saved, needed) -> a gradient, or None, for each saved tensor. errors: the gradient of
    # the loss at each taught output, None if it is unused. saved: the model's parameters, the
    # state's tensors, and the kept tensors. needed: which of them need a gradient.
    gradients: Callable[
        [Sequence[Tensor | None], Sequence[Tensor], Sequence[bool]], Sequence[Tensor | None]
    ]


class End(ABC):
    """The end of a block's graph in one forward pass, which supplies its gradient."""

    at: At
    root: Tensor  # the block's output or its own loss; deleted once the end is tied
    deferred: bool  # whether it is tied only when the model's output is known

    @abstractmethod
    def gradient(self) -> Tensor:
        """Return the gradient at the root: the rule's signal, or 1 for a loss."""


class Schedule(ABC):
    """When blocks compute and learn."""

    keeps_graphs: ClassVar[bool] = True  # whether a block's graph outlives the next block's run

    @abstractmethod
    def take(self, ends: Sequence[End]) -> None:
        """Take the ends of a block that has just run: store them, or make the block learn now."""

    def check(self, blocks: Sequence[Block]) -> None:  # noqa: B027
        """Raise a `UserError` if a rule of these blocks cannot learn under this schedule."""

    def begin(self) -> None:  # noqa: B027
        """Raise a `UserError` if the pass cannot run under this schedule."""


class Host(ABC):
    """The engine as a rule sees it while it is installed."""

    model: nn.Module
    blocks: tuple[Block, ...]  # in the order they run

    @abstractmethod
    def end_by_signal(self, block: Block, rule: SignalRule, state: State) -> None:
        """End the graph at the block's output; its gradient is the rule's signal."""

    @abstractmethod
    def end_by_loss(self, block: Block, rule: LossRule, state: State) -> None:
        """End the graph at the block's output; the block learns from the rule's loss."""

    @abstractmethod
    def end_untaught(self, block: Block) -> None:
        """End the graph at the block's output and teach it nothing."""

    @abstractmethod
    def swap_layers(self, block: Block, rule: LayerRule) -> str:
        """Give the block's layers a modified backward pass; return a description of the change."""

    @abstractmethod
    def replace_forward(self, rule: ModelRule) -> None:
        """Let the rule run the model's forward pass."""
