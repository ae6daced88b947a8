"""The one place where a block's graph ends, and what teaches the block there.

`detach` is called with what a block returned. It hands the end of the block's graph to the
schedule, and returns the same tensors detached, so that no gradient passes from block to block.
"""

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import call
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.modules import has_parameters
from beyondprop._torch.private import in_backward
from beyondprop._torch.pytrees import leaves, replaced
from beyondprop._torch.tracing import TRACERS, traced
from beyondprop.core import (
    At,
    Block,
    End,
    ForwardPass,
    LossRule,
    Mode,
    Schedule,
    SignalRule,
)
from beyondprop.engine.joint import Exchange, Joint
from beyondprop.engine.scale import unscaled
from beyondprop.engine.walk import is_hidden, that_teach
from beyondprop.errors import UserError
from beyondprop.shapes import (
    NODES,
    SOURCE,
    TOKENS,
    Axes,
    positions,
    samples_first,
    targets_first,
)


@dataclass(eq=False)
class OpenPass:
    """A forward pass that is being taught, as the engine sees it.

    Attributes:
        run: What rules see of it.
        joint: What learns in the backward pass; ties it to the model's outputs.
        schedule: What takes the ends of blocks: the joint schedule, or one that the user chose.
        detached: The detached tensors that the model went on with, while they live.
        calls: How often a module that several blocks share was called.
        ended: The blocks whose ends were reached.
        inputs: What each block was given, where its rule needs that.
        exchange: The latest block that receives what the next one sends back.
        tied: Whether a module within the model has been tied to the ends.
        share: How much of a mean over targets the model's own loss is.
        cut: In a first pass what blocks returned, with their graphs; None in others.
    """

    run: ForwardPass
    joint: Joint
    schedule: Schedule
    detached: list[weakref.ref[Tensor]] = field(default_factory=list)
    calls: dict[nn.Module, int] = field(default_factory=dict)
    ended: list[Block] = field(default_factory=list)
    inputs: dict[Block, Tensor] = field(default_factory=dict)
    exchange: At | None = None
    tied: bool = False
    share: Tensor | float = 1.0
    cut: list[Any] | None = None

    def is_detached(self, tensor: Tensor) -> bool:
        """Whether this is the detached output of a block."""
        return any(ref() is tensor for ref in self.detached)


class Current(threading.local):
    """The forward pass under way in each thread.

    Attributes:
        open_pass: The innermost one, if it is being taught.
        outer: Those around it, outermost first.
    """

    # Without them PyTorch's compiler would find a `__dict__` that is not the thread's, and what
    # compiled hooks set would be lost.
    __slots__ = ()

    def __init__(self) -> None:
        self.open_pass: OpenPass | None = None
        self.outer: list[OpenPass | None] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Current, ()  # a copy, made within a pass or after one that failed, starts outside

    def enter(self, open_pass: OpenPass | None) -> None:
        """Begin a pass, None for one that is not taught."""
        self.outer.append(self.open_pass)
        self.open_pass = open_pass

    def leave(self) -> None:
        """End the innermost pass."""
        self.open_pass = self.outer.pop() if self.outer else None


def detach(outputs: Any, taught: "Taught", open_pass: OpenPass) -> Any:
    """End a block's graph: hand its end to the schedule, and return its outputs detached."""
    # Not by check_run: small nets would feel the call.
    if not torch.compiler.is_dynamo_compiling() and any(map(call, TRACERS)):
        raise traced()
    open_pass.ended.append(taught.block)
    if open_pass.cut is not None:
        open_pass.cut.append(outputs)
    ends = taught.ends(outputs, open_pass)
    if ends:
        open_pass.schedule.take(ends)
    if isinstance(outputs, Tensor):
        return taught.go_on(outputs, open_pass)
    return replaced(outputs, lambda tensor: taught.go_on(tensor, open_pass))


HANDLE, MODE = "_beyondprop", "_beyondprop_mode"


def mode_of(module: nn.Module) -> Mode | None:
    """Return what holds for the passes of the model that this module is a part of, None if rules
    are attached to none.
    """
    found: Mode | None = vars(module).get(MODE)
    return found


def mark(model: nn.Module, mode: Mode | None) -> None:
    """Have every part of a model know what holds for its passes; None takes the marks away.

    Modules without parameters get none: other models may hold the same one, such as an activation
    that a package makes once.
    """
    for module in filter(has_parameters, model.modules()):
        vars(module).pop(MODE, None)
        if mode is not None:
            vars(module)[MODE] = mode


def check_not_taught(mode: Mode) -> None:
    """See that a block that runs outside the model's forward pass is not to be taught.

    Raises:
        UserError: It is.
    """
    if torch.is_grad_enabled() and not mode.exact:
        if in_backward():
            raise UserError(
                "checkpointing computes a block again whose rule needs its output, and the pass "
                "it belongs to is over: checkpoint parts within the block instead, or let "
                "Immediate free its activations"
            )
        raise UserError(
            "a block of an attached model is run by itself, where its rule cannot teach it: run "
            "the whole model, or use torch.no_grad() or exact_gradients(model)"
        )


class EndOfBlock:
    """The forward hook on the module whose output is a block's.

    Blocks may share that module (one activation used again and again): then its n-th call in a
    forward pass is the n-th block's.

    Attributes:
        taught: What is done at each of the module's calls; None where a block ends elsewhere.
        backward_hooks: The tables of the module's backward hooks, which are empty.
    """

    def __init__(self, current: Current, mode: Mode) -> None:
        self.current, self.mode = current, mode
        self.backward_hooks: Sequence[Mapping[int, Any]] = ()
        self.taught: list[Taught | None] = []

    def __call__(self, module: nn.Module, _inputs: Any, outputs: Any) -> Any:
        """End the graph at the block's output."""
        open_pass = self.current.open_pass
        if open_pass is None:
            check_not_taught(self.mode)
            return outputs
        if open_pass.run.apart:
            return outputs
        taught = self.taught[0]
        if len(self.taught) > 1:
            call = open_pass.calls.get(module, 0)
            open_pass.calls[module] = call + 1
            taught = self.taught[call % len(self.taught)]
        if taught is None:
            return outputs
        if open_pass.tied:
            raise UserError(
                f"block '{taught.block.name}' runs after the module that output= names, where the "
                "error is taken: leave the block out, and it keeps its exact gradient"
            )
        if any(self.backward_hooks):
            raise UserError(
                f"block '{taught.block.name}' ends in a module with a backward hook of yours, "
                "which would never be called, as no gradient arrives there: hook a module "
                "before it, or use exact_gradients(model)"
            )
        return detach(outputs, taught, open_pass)


class InputOfBlock:
    """The forward pre-hook on a block's first module, where the rule needs the block's input."""

    def __init__(self, current: Current, block: Block) -> None:
        self.current, self.block = current, block

    def __call__(self, _module: nn.Module, inputs: Any, keywords: Any) -> None:
        """Remember what the block is given."""
        open_pass = self.current.open_pass
        if open_pass is not None and not open_pass.run.apart:
            tensor = next(leaves((inputs, keywords)), None)
            if tensor is not None:
                open_pass.inputs[self.block] = tensor.detach()


class Taught(ABC):
    """What is done at the end of one block, in every forward pass.

    Attributes:
        block: The block.
        state: What its rule keeps for it from pass to pass.
        reads_input: Whether the rule needs what the block is given.
        kept: Whether the block's output is needed later as it is.
        deferred: Whether its end is tied once the model's output is known.
        fusable: Whether a fused chain can teach the block.
    """

    def __init__(self, block: Block, state: dict[str, Tensor]) -> None:
        self.block, self.state = block, state
        self.reads_input = "input" in block.rule.traits.needs
        self.kept = self.fusable = self.deferred = False
        self._places: dict[int, list[int]] = {}

    @abstractmethod
    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:
        """Return the ends of the block's graph that teach it; none where it learns nothing."""

    def main(self, outputs: Any) -> Sequence[Tensor]:
        """Return those tensors of several that a block returned by which it is taught."""
        found = [t for t in leaves(outputs) if t.is_floating_point() or t.is_complex()]
        return [found[i] for i in self._teaching(found)] if len(found) > 1 else found

    def _teaching(self, tensors: Sequence[Tensor]) -> Sequence[int]:
        """Return which of several tensors teach the block.

        That is looked up in every pass, as it depends on how the block was called and on which
        parameters rest; compiled code hides it, and then it is as in the pass before.
        """
        places = self._places.get(len(tensors))
        if places is None or not (torch.compiler.is_compiling() or is_hidden(tensors)):
            places = self._places[len(tensors)] = that_teach(tensors)
        return places

    def go_on(self, output: Tensor, open_pass: OpenPass) -> Tensor:
        """Return the tensor that the model goes on with."""
        if not output.requires_grad:
            return output
        detached = output.detach()
        if self.kept and open_pass.schedule.keeps_graphs:
            detached = detached.clone()  # the model may work in place on what it goes on with
        open_pass.detached.append(weakref.ref(detached))
        return detached

    def owners(self) -> Sequence[Tensor]:
        """Return the block's parameters that learn beside the state."""
        return [p for _, p in self.block.parameters() if p.requires_grad]

    def at(self, output: Tensor, open_pass: OpenPass) -> At:
        """Return where the rule is asked."""
        return At(
            self.block,
            open_pass.run,
            self.state,
            output.shape,
            output.dtype,
            output.device,
            open_pass.inputs.get(self.block) if self.reads_input else None,
            axes=self.block.axes,
        )


class Untaught(Taught):
    """A block whose graph ends and which learns nothing."""

    def __init__(self, block: Block) -> None:
        super().__init__(block, {})
        self.fusable = True

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:  # noqa: ARG002
        """Return none."""
        return ()


class BySignal(Taught):
    """A block whose rule gives its output a signal.

    Attributes:
        rule: The rule.
        same: What blocks with the same signal have in common.
    """

    def __init__(self, block: Block, rule: SignalRule, state: dict[str, Tensor]) -> None:
        super().__init__(block, state)
        self.rule = rule
        self.same = rule.same_signal(block)  # not asked in every pass: small nets would feel it
        self.reads_input = "input" in rule.traits.needs  # it may be another than the block's
        more = rule.traits.needs & {"input", "output"}
        # A signal that depends on the pass alone can be made at the output, for all blocks.
        self.deferred = bool(more) or bool(state)
        self.kept = "output" in more
        self.fusable = not self.deferred and not rule.traits.counts_passes

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:
        """Return one end for each tensor by which the block is taught."""
        tensors = (outputs,) if isinstance(outputs, Tensor) else self.main(outputs)
        found: list[End] = []
        for output in tensors:
            if output.requires_grad:
                at = self.at(output, open_pass)
                if self.kept:
                    at.output = output.detach()
                found.append(SignalEnd(at, output, self.rule, self.deferred, same=self.same))
        return found


class ByMessage(Taught):
    """A block whose signal depends on what the next block sends back.

    Attributes:
        rule: The rule.
        previous: The block before this one, which gets what the rule sends back.
    """

    def __init__(
        self, block: Block, rule: SignalRule, state: dict[str, Tensor], previous: Block | None
    ) -> None:
        super().__init__(block, state)
        self.rule, self.previous = rule, previous
        self.reads_input = "input" in rule.traits.needs  # it may be another than the block's
        self.deferred = True
        self.kept = "output" in rule.traits.needs

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:  # noqa: ARG002
        """Return none: the graph goes on, and the signal replaces the gradient in it."""
        return ()

    def go_on(self, output: Tensor, open_pass: OpenPass) -> Tensor:
        """Return the output, at which the gradient is replaced by the signal."""
        if not output.requires_grad:
            return output
        at, before = self.at(output, open_pass), open_pass.exchange
        open_pass.exchange = at
        if before is not None and before.block is not self.previous:
            before = None  # between them lies a block that sends back its gradient
        if self.kept:
            at.output = output.detach()
        self.rule.prepare(at, torch.Size())
        end = SignalEnd(at, output, self.rule, deferred=True, before=before)
        going_on: Tensor = Exchange.apply(output, end, *end.learned())
        del end.root  # the node outlives the block's graph, and must not hold the output
        return going_on


class ByLoss(Taught):
    """A block that lowers a loss of its own."""

    def __init__(self, block: Block, rule: LossRule, state: dict[str, Tensor]) -> None:
        super().__init__(block, state)
        self.rule = rule
        self.kept = True

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:
        """Return the end at the block's loss."""
        output = outputs if isinstance(outputs, Tensor) else _side_by_side(self.main(outputs))
        called = type(self.rule).__name__
        if output is not None and output.is_complex():
            raise UserError(
                f"{called} cannot teach block '{self.block.name}', which returns complex numbers: "
                "give it another rule, or return their parts"
            )
        if output is None or not output.is_floating_point():
            return ()
        axes = self.block.axes
        if not axes.plain:
            output, axes = self._samples_first(output, open_pass.run)
        at = self.at(output, open_pass)
        at.output, at.axes = output, axes
        # An empty batch teaches nothing, as under other rules, and no rule need think of it.
        loss = self.rule.loss(at) if output.numel() else output.sum()
        at.input = at.output = None  # the end outlives the block's graph
        if loss.dim():
            raise UserError(f"the loss of {called} must be one number, not {loss.shape}")
        if output.requires_grad and not loss.requires_grad:
            raise UserError(
                f"the loss of {called} does not depend on block '{self.block.name}', which would "
                "never learn: make it of at.output, not detached"
            )
        return (LossEnd(at, loss, loss.dtype, loss.device),) if loss.requires_grad else ()

    def _samples_first(self, output: Tensor, run: ForwardPass) -> tuple[Tensor, Axes]:
        """Return the output with its samples first, and what its axes mean then."""
        axes, targets = self.block.axes.at(output), run.targets
        if targets is not None:
            targets = targets_first(targets, run.axes)
        batch = next((len(t) for t in (targets, run.inputs) if t is not None and t.dim()), None)
        each = (NODES,) in run.axes.groups  # a node has a target of its own, not its graph
        x, found = samples_first(output, axes, batch, None if each else run.samples)
        own = [name for name in positions(axes) if name not in positions(run.axes)]
        if not own or targets is None or targets.dim() < 2 or x.dim() < 3:
            return x, found
        if len(own) == len(positions(axes)):
            return x.flatten(1, -2), SOURCE
        return x.mean([positions(axes).index(name) + 1 for name in own]), TOKENS


@dataclass(eq=False, slots=True)
class SignalEnd(End):
    """The end of a block whose rule gives it a signal.

    Attributes:
        at: Where it is.
        root: The block's output.
        rule: The rule.
        deferred: Whether it is tied once the model's output is known, and a graph node keeps in
            its place what `at` holds.
        before: The block before, which gets what the rule sends back.
        same: What blocks with the same signal have in common, if several may have it.
    """

    at: At
    root: Tensor
    rule: SignalRule
    deferred: bool = False
    before: At | None = None
    same: Hashable = None

    def gradient(self) -> Tensor:
        """Return the rule's signal."""
        at = self.at
        scale = at.run.scale
        if scale is None or at.block.rule.traits.scales_with_loss:
            signal = self.rule.signal(at)
        else:
            with unscaled(at.run):
                signal = self.rule.signal(at) * scale
        same = signal.dtype == at.dtype and signal.device == at.device
        return signal if same else signal.to(at.device, at.dtype)

    def key(self) -> Hashable:
        """Return what ends with the same signal have in common."""
        at = self.at
        return self.same, at.block.axes, at.shape, at.dtype, at.device

    def learned(self) -> list[Tensor]:
        """Return what is learned beside the block, by gradients that the rule makes."""
        return [t for t in self.at.state.values() if t.requires_grad]

    def learned_gradients(self) -> list[Tensor | None]:
        """Return the gradients that the rule has made of what is learned."""
        at, scale = self.at, self.at.run.scale
        found = [at.gradients.get(name) for name, t in at.state.items() if t.requires_grad]
        if scale is None or at.block.rule.traits.scales_with_loss:
            return found
        return [None if gradient is None else gradient * scale.to(gradient) for gradient in found]


@dataclass(eq=False, slots=True)
class LossEnd(End):
    """The end of a block with a loss of its own, which is scaled as the model's loss is."""

    at: At
    root: Tensor
    dtype: torch.dtype
    device: torch.device
    deferred: bool = False

    def gradient(self) -> Tensor:
        """Return 1, or by how much the caller has scaled the model's loss."""
        one = torch.ones((), dtype=self.dtype, device=self.device)
        scale = self.at.run.scale
        return one if scale is None else one * scale.to(one)

    def key(self) -> Hashable:
        """Return what ends with the same gradient have in common."""
        return LossEnd, self.dtype, self.device


def _side_by_side(found: Sequence[Tensor]) -> Tensor | None:
    """Return what a block's own loss is made of: its output, or several next to one another."""
    first = found[0] if found else None
    if first is None or len(found) == 1:
        return first
    if any(t.dim() < 2 or len(t) != len(first) for t in found):
        raise UserError(
            "a block returns several tensors that train parameters, and their samples differ, so "
            "no loss can be computed from them: name blocks that return one tensor"
        )
    return torch.cat([t.flatten(1) for t in found], dim=1)
