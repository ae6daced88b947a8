"""BeyondProp on one page. A rule says what a block is taught; the engine does it.

forward   behind a taught block the graph ends; the next block gets a detached copy
backward  the loss gives the output error; each end asks its rule for a signal, last block first
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.random.streams import stream_of
from beyondprop.shapes import TOKENS, Axes


@dataclass(frozen=True, eq=False)
class Block:
    """What is taught as one; inside it the gradient is exact.

    Attributes:
        name: Of its first module (or parameter), as in `named_modules`.
        rule: What teaches it.
        modules: Names and modules, in the order they run; the last one makes the block's output.
        owner: The model.
        loose: Names of parameters that belong to none of its modules.
        axes: What the axes of its output mean.
        depth: Where it stands among the taught blocks, from 0 (first) to 1 (last).
    """

    name: str
    rule: "Rule"
    modules: tuple[tuple[str, nn.Module], ...]
    owner: nn.Module
    loose: tuple[str, ...] = ()
    axes: Axes = TOKENS
    depth: float = 0.0

    @cached_property
    def stream(self) -> int:
        """The number of the block's own random stream."""
        return stream_of(self.name)

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield every module in the block with its name in the model."""
        for name, module in self.modules:
            for inner, submodule in module.named_modules():
                yield f"{name}.{inner}" if inner else name, submodule

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return the block's parameters with their names in the model, each once."""
        found = {
            f"{name}.{inner}": parameter
            for name, module in self.modules
            for inner, parameter in module.named_parameters()
        }
        found |= {name: self.owner.get_parameter(name) for name in self.loose}
        return list({id(p): (name, p) for name, p in reversed(found.items())}.values())[::-1]


@dataclass(eq=False)
class ForwardPass:
    """What one forward pass of the model and its backward passes share.

    Attributes:
        inputs: The first tensor that the model was called with, or None.
        targets: What the caller gave ``handle.targets``, or None.
        training: Whether the model is in training mode.
        number: How many taught passes in training mode there were, this one included.
        classes: How many classes the model's output has, where its last layer shows that.
        axes: What the axes of the model's outputs mean.
        errors: Gradient of the loss at each output of the model, None where the loss does not use
            it; empty until the backward pass has begun.
        shared: What a rule keeps for this pass alone, under a key of its own.
        apart: Whether a rule runs a block by itself just now, so that nothing is taught.
    """

    inputs: Tensor | None = None
    targets: Tensor | None = None
    training: bool = True
    number: int = 0
    classes: int | None = None
    axes: Axes = TOKENS
    errors: Sequence[Tensor | None] = ()
    shared: dict[Hashable, Any] = field(default_factory=dict)
    apart: bool = False

    def run(self, block: Block, x: Tensor) -> Tensor:
        """Return what a block makes of ``x``, beside the model's own pass and without its rule.

        The block's buffers (running statistics) are left as they are.
        """
        before, self.apart = self.apart, True
        try:
            for _, module in block.modules:
                buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
                x = torch.func.functional_call(module, buffers, (x,))
            return x
        finally:
            self.apart = before


@dataclass(eq=False)
class At:
    """Where a rule is asked: the end of a block's graph in one forward pass.

    Attributes:
        block: The block.
        run: The forward pass.
        state: What the rule keeps for this block from pass to pass; parameters in it are learned.
        shape: Of the block's output and so of its signal; likewise `dtype` and `device`.
        input: What the block was given, detached, if the rule needs it.
        output: What it returned, if the rule needs it: detached for a signal; for a loss with the
            graph of this block alone.
        sent_back: What the next block, nearer the output, sent back, if the rule needs it: its
            rule's message, or the gradient at its input where it keeps its exact gradient.
        message: What to send back to the block before; a rule sets it while it makes its signal.
        gradients: The gradient of each parameter in `state`; a rule fills it while it makes its
            signal. For a loss autograd finds them.
    """

    block: Block
    run: ForwardPass
    state: dict[str, Tensor]
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    input: Tensor | None = None
    output: Tensor | None = None
    sent_back: Tensor | None = None
    message: Tensor | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict)


@dataclass(eq=False)
class Mode:
    """What holds for the forward passes to come, shared by all that is attached to a model.

    Attributes:
        exact: Whether true gradients flow for now, whatever is attached.
        number: How many taught passes in training mode there were.
    """

    exact: bool = False
    number: int = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"exact": False, "number": self.number}  # a copy starts outside `exact_gradients`


@dataclass(eq=False)
class AtWeight:
    """Where a rule of layers is asked: one weight of one layer.

    Attributes:
        mode: What holds for the pass.
        rule: The rule.
        layer: The layer that holds the weight.
        name: Of the weight in the layer.
        stream: The weight's own random stream.
        inputs: How many inputs one output of the layer sums over.
        state: What the rule keeps for this weight from pass to pass; parameters are learned.
    """

    mode: Mode
    rule: "LayerRule"
    layer: nn.Module
    name: str
    stream: int
    inputs: int
    state: dict[str, Tensor] = field(default_factory=dict)

    def weight(self) -> Tensor:
        """Return the weight."""
        found: Tensor = getattr(self.layer, self.name)
        return found

    def owners(self) -> Sequence[Tensor]:
        """Return the weight, as what learns beside the state."""
        return [self.weight()]


@dataclass(frozen=True)
class Traits:
    """What checks, schedules and records must know of a rule.

    Attributes:
        needs: Of ``error`` (at the model's output), ``targets``, ``input`` and ``output`` (the
            block's own), ``sent_back`` (by the next block), ``weights`` (whose layers get another
            backward pass); a rule gets only what it names.
        ends_graph: Whether a block's output is detached, so that no gradient passes it.
        learns: Whether a block learns anything, and so sends a gradient to an undetached one before
            it.
        scales_with_loss: Whether scaling the loss scales the signal alike.
        exact_at_output: Whether the block that makes the output keeps its exact gradient.
        one_output: Whether the model may have one output only.
        whole_model: Whether the rule runs the model itself, so that no other can stand beside it.
        alone: Why several processes would not learn as one does; empty where they would.
        averages: Whether they would if the gradients of learned feedback were averaged too.
        drawn_once: Fields whose projections only draw what the state begins with.
        counts_passes: Whether the signal depends on the number of the pass.
    """

    needs: frozenset[str] = frozenset()
    ends_graph: bool = False
    learns: bool = True
    scales_with_loss: bool = True
    exact_at_output: bool = False
    one_output: bool = False
    whole_model: bool = False
    alone: str = ""
    averages: bool = False
    drawn_once: frozenset[str] = frozenset()
    counts_passes: bool = False

    @property
    def immediate(self) -> bool:
        """Whether a block can learn as soon as it has run."""
        return not self.needs & {"error", "sent_back", "weights"}

    @property
    def distributed(self) -> bool:
        """Whether several processes, each with a part of every batch, learn as one does."""
        return not self.alone

    def but(self, **changes: Any) -> "Traits":
        """Return the same traits with some changed."""
        return replace(self, **changes)


class Rule(ABC):
    """Where a block's teaching signal comes from; it draws no random numbers itself.

    `install` is the open door; the four kinds below need one method of their own each.
    """

    name: ClassVar[str]
    traits: ClassVar[Traits] = Traits()

    @abstractmethod
    def install(self, block: Block, host: "Host") -> str:
        """Have the host change how the block is taught; return in a few words what was changed."""

    def problems(self, block: Block) -> Iterator[str]:  # noqa: ARG002
        """Yield a sentence for each reason why this rule cannot teach the block."""
        yield from ()

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build the same rule again, as JSON values."""
        own: Any = self
        names = [f.name for f in fields(own) if f.init] if is_dataclass(own) else []
        values = {name: getattr(self, name) for name in names}
        return {"rule": self.name} | {
            name: value.settings() if hasattr(value, "settings") else value
            for name, value in values.items()
        }


class SignalRule(Rule):
    """A rule that gives a block's output a signal in place of its gradient."""

    @abstractmethod
    def signal(self, at: At) -> Tensor:
        """Return the signal, shaped like the block's output."""

    def start(self, block: Block) -> dict[str, Tensor]:  # noqa: ARG002
        """Return what to keep for a block from pass to pass; parameters in it are learned."""
        return {}

    def prepare(self, at: At, errors: torch.Size) -> None:
        """Fill in the state, now that the shape of the model's output is known."""

    def same_signal(self, block: Block) -> Hashable:
        """Return a key; blocks with one key and outputs of one shape get the same signal."""
        return block.name

    def install(self, block: Block, host: "Host") -> str:
        """End the graph at the block's output."""
        host.end_by_signal(block, self, self.start(block))
        return "output detached: the rule gives it a signal"


class LossRule(Rule):
    """A rule by which a block lowers a loss of its own."""

    @abstractmethod
    def loss(self, at: At) -> Tensor:
        """Return the loss, a scalar whose graph leads into this block and its state alone."""

    def start(self, block: Block) -> dict[str, Tensor]:  # noqa: ARG002
        """Return what to keep for a block from pass to pass; parameters in it are learned."""
        return {}

    def install(self, block: Block, host: "Host") -> str:
        """End the graph at the block's output."""
        state = self.start(block)
        host.end_by_loss(block, self, state)
        head = f", of a head with {', '.join(state)}" if state else ""
        return f"output detached: it learns by a loss of its own{head}"


@dataclass(frozen=True)
class LayerRule(Rule):
    """A rule that replaces each layer's weight in the backward pass by another matrix.

    Args:
        exact: Names or `fnmatch` patterns of modules that keep their exact backward pass, although
            they carry errors through weights; the report names them.
    """

    traits: ClassVar[Traits] = Traits(frozenset({"weights"}))
    exact: tuple[str, ...] = field(default=(), kw_only=True)

    of_weight_alone: ClassVar[bool] = False
    """Whether the matrix is made of the weight alone, so that it can be made as late as needed."""

    @abstractmethod
    def feedback(self, weight: Tensor, at: AtWeight) -> Tensor:
        """Return what replaces the (detached) weight, of its shape and dtype."""

    def start(self, weight: Tensor, at: AtWeight) -> dict[str, Tensor]:  # noqa: ARG002
        """Return what to keep for a weight from pass to pass; parameters in it are learned."""
        return {}

    def __post_init__(self) -> None:
        given: Any = self.exact
        if isinstance(given, str):
            raise UserError(f"exact= takes a tuple of names: write exact=('{given}',)")

    def keeps_exact(self, name: str) -> bool:
        """Whether the module, or one around it, keeps its exact backward pass."""
        parts = name.split(".")
        outer = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(each, pattern) for each in outer for pattern in self.exact)

    def install(self, block: Block, host: "Host") -> str:
        """Give each layer of the block that has weights a backward of its own."""
        return host.swap_layers(block, self)


class ModelRule(Rule):
    """A rule that runs the model's forward pass itself, and makes all gradients without a graph."""

    traits: ClassVar[Traits] = Traits(frozenset({"error"}), whole_model=True)

    @abstractmethod
    def forward(self, call: "ModelCall") -> "ModelResult":
        """Run the forward pass; gradients are switched off."""

    def start(self, model: nn.Module) -> dict[str, Tensor]:  # noqa: ARG002
        """Return what to keep for the model from pass to pass; parameters in it are learned."""
        return {}

    def install(self, block: Block, host: "Host") -> str:  # noqa: ARG002
        """Run the model's forward pass from now on."""
        host.replace_forward(self)
        return "runs the model itself, without a graph"


@dataclass(frozen=True, eq=False)
class ModelCall:
    """A forward pass that a `ModelRule` is to run.

    Attributes:
        model: The model.
        parameters: All its parameters by name, those that do not learn too.
        inputs: What it is called with; `keywords` likewise, by name.
        run: The forward pass.
        state: What the rule keeps from pass to pass.
        plain: The model's own forward pass, as a module around the model, named ``model`` in it.
    """

    model: nn.Module
    parameters: Mapping[str, Tensor]
    inputs: tuple[Any, ...]
    keywords: Mapping[str, Any]
    run: ForwardPass
    state: dict[str, Tensor]
    plain: nn.Module

    def outputs(self, others: Mapping[str, Tensor]) -> Any:
        """Return what the model's own forward pass makes with other tensors for parameters."""
        named = {f"model.{name}": tensor for name, tensor in others.items()}
        return torch.func.functional_call(self.plain, named, self.inputs, dict(self.keywords))


class ModelGradients(ABC):
    """What a pass of a `ModelRule` leaves behind, to teach by when the output error is known."""

    @abstractmethod
    def gradients(
        self, errors: Sequence[Tensor | None], saved: Sequence[Tensor], needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        """Return a gradient, or None, for each saved tensor.

        Args:
            errors: Gradient of the loss at each taught output; None where it is unused.
            saved: The model's parameters, the state's, and then what the rule asked to keep.
            needed: Which of these need a gradient.
        """


@dataclass(frozen=True, eq=False)
class ModelResult:
    """What became of a forward pass.

    Attributes:
        outputs: What the model returns, without a graph.
        taught: The tensors in it at which an error may arrive.
        kept: Tensors to keep until the backward pass.
        gradients: What turns errors into gradients.
    """

    outputs: Any
    taught: Sequence[Tensor]
    kept: Sequence[Tensor]
    gradients: ModelGradients


class End(ABC):
    """The end of a block's graph in one forward pass, and what teaches it.

    Attributes:
        at: Where it is.
        root: The block's output, or the loss of its own.
    """

    at: At
    root: Tensor

    @abstractmethod
    def gradient(self) -> Tensor:
        """Return the gradient at the root: the rule's signal, or 1 for a loss."""


class Schedule(ABC):
    """When blocks compute and learn."""

    keeps_graphs: ClassVar[bool] = True
    """Whether a block's graph lives on while the next blocks run, which may work in place."""

    @abstractmethod
    def take(self, ends: Sequence[End]) -> None:
        """Take the ends of a block that has just run: remember them, or have it learn now."""

    def check(self, blocks: Sequence[Block]) -> None:  # noqa: B027
        """Raise a `UserError` where a rule of these blocks cannot learn so."""

    def begin(self) -> None:  # noqa: B027
        """Raise a `UserError` where a pass that begins cannot run so."""


class Host(ABC):
    """The engine as a rule sees it while it is installed.

    Attributes:
        model: The model.
        blocks: All its blocks, in the order they run.
    """

    model: nn.Module
    blocks: tuple[Block, ...]

    @abstractmethod
    def end_by_signal(self, block: Block, rule: SignalRule, state: dict[str, Tensor]) -> None:
        """End the graph at the block's output, where the rule gives it a signal."""

    @abstractmethod
    def end_by_loss(self, block: Block, rule: LossRule, state: dict[str, Tensor]) -> None:
        """End the graph at the block's output, where the rule gives it a loss of its own."""

    @abstractmethod
    def end_untaught(self, block: Block) -> None:
        """End the graph at the block's output and teach it nothing."""

    @abstractmethod
    def swap_layers(self, block: Block, rule: LayerRule) -> str:
        """Give the block's layers a backward of their own; return in words what was changed."""

    @abstractmethod
    def replace_forward(self, rule: ModelRule) -> None:
        """Have the rule run the model's forward pass."""
