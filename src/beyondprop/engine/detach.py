"""The one place where a block's graph ends, and the objects that teach the block there.

`detach` is called with a block's outputs. It passes the end of the block's graph to the schedule,
and returns the outputs detached, so that no gradient flows from block to block.
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
from beyondprop.engine.rule_state import state_of
from beyondprop.engine.scale import unscaled
from beyondprop.engine.walk import is_hidden, that_teach
from beyondprop.errors import UserError, shown
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
    """A taught forward pass, with the engine's data.

    Attributes:
        run: The part of it that rules see.
        joint: The joint schedule, which ties blocks that learn in the backward pass to the outputs.
        schedule: The schedule that takes the ends of blocks: the joint one or the user's.
        detached: The detached tensors with which the model continued, as weak references.
        calls: Number of calls of each module that several blocks share.
        ended: The blocks whose ends were reached.
        inputs: The input of each block whose rule needs it.
        exchange: The latest end at which a rule receives what the next block sends back.
        tied: Whether the output of a module inside the model has been tied to the ends.
        share: The model's own loss as a fraction of a mean over targets.
        cut: In a first pass the outputs of blocks, with their graphs; None in others.
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
    """The current forward pass of each thread.

    Attributes:
        open_pass: The innermost one, None if it is not taught.
        outer: The passes around it, outermost first.
    """

    # Without slots PyTorch's compiler would find a `__dict__` that is not the thread's, and
    # attributes that compiled hooks set would be lost.
    __slots__ = ()

    def __init__(self) -> None:
        self.open_pass: OpenPass | None = None
        self.outer: list[OpenPass | None] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Current, ()  # a copy, made within a pass or after one that failed, starts outside

    def enter(self, open_pass: OpenPass | None) -> None:
        """Begin a pass; None if it is not taught."""
        self.outer.append(self.open_pass)
        self.open_pass = open_pass

    def leave(self) -> None:
        """End the innermost pass."""
        self.open_pass = self.outer.pop() if self.outer else None


def detach(outputs: Any, taught: "Taught", open_pass: OpenPass) -> Any:
    """End a block's graph: pass its end to the schedule, and return its outputs detached."""
    # Not by check_run, whose call would slow down small networks.
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
    """Return the `Mode` of the attached model that contains this module; None if there is none."""
    found: Mode | None = vars(module).get(MODE)
    return found


def mark(model: nn.Module, mode: Mode | None) -> None:
    """Store the mode of a model's passes in all its modules; None removes it.

    Modules without parameters are skipped, as several models may share one, such as an activation
    that a package creates once.
    """
    for module in filter(has_parameters, model.modules()):
        vars(module).pop(MODE, None)
        if mode is not None:
            vars(module)[MODE] = mode


def check_not_taught(mode: Mode) -> None:
    """Check that a block that runs outside the model's forward pass need not be taught.

    Raises:
        UserError: Gradients are enabled, so its rule would have to teach it.
    """
    if torch.is_grad_enabled() and not mode.exact:
        if in_backward():
            raise UserError(
                "checkpointing recomputes a block whose rule needs its output, after the forward "
                "pass has ended: checkpoint parts within the block instead, or let Immediate free "
                "its activations"
            )
        raise UserError(
            "a block of an attached model is run outside the model, where its rule cannot teach "
            "it: run the complete model, or use torch.no_grad() or bp.exact_gradients(model)"
        )


class EndOfBlock:
    """The forward hook on the module that makes a block's output.

    Blocks may share that module (one activation used several times): then its n-th call in a
    forward pass belongs to the n-th block.

    Attributes:
        taught: The block's end for each call of the module; None for a call inside a block.
        backward_hooks: The tables of the module's backward hooks, which must be empty.
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
                "before it, or use bp.exact_gradients(model)"
            )
        return detach(outputs, taught, open_pass)


class InputOfBlock:
    """The forward pre-hook on a block's first module, if the rule needs the block's input."""

    def __init__(self, current: Current, block: Block) -> None:
        self.current, self.block = current, block

    def __call__(self, _module: nn.Module, inputs: Any, keywords: Any) -> None:
        """Store the block's input."""
        open_pass = self.current.open_pass
        if open_pass is not None and not open_pass.run.apart:
            tensor = next(leaves((inputs, keywords)), None)
            if tensor is not None:
                open_pass.inputs[self.block] = tensor.detach()


class Taught(ABC):
    """The handling of the end of one block, in every forward pass.

    Attributes:
        block: The block.
        state: The rule's state for the block, kept between passes.
        reads_input: Whether the rule needs the block's input.
        kept: Whether the block's output is needed later, unchanged.
        deferred: Whether its end is tied only when the model's output is known.
        fusable: Whether a fused chain can teach the block.
    """

    def __init__(self, block: Block, state: dict[str, Tensor]) -> None:
        self.block, self.state = block, state_of(block.rule, state)
        self.reads_input = "input" in block.rule.traits.needs
        self.kept = self.fusable = self.deferred = False
        self._places: dict[int, list[int]] = {}

    @abstractmethod
    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:
        """Return the ends of the block's graph that teach it; none where it learns nothing."""

    def main(self, outputs: Any) -> Sequence[Tensor]:
        """Return the tensors among a block's outputs by which it is taught."""
        found = [t for t in leaves(outputs) if t.is_floating_point() or t.is_complex()]
        return [found[i] for i in self._teaching(found)] if len(found) > 1 else found

    def _teaching(self, tensors: Sequence[Tensor]) -> Sequence[int]:
        """Return the indices of the tensors by which the block is taught.

        They are determined in every pass, as they depend on the block's arguments and on frozen
        parameters. Compiled code hides the graph; then those of the previous pass are used.
        """
        places = self._places.get(len(tensors))
        if places is None or not (torch.compiler.is_compiling() or is_hidden(tensors)):
            places = self._places[len(tensors)] = that_teach(tensors)
        return places

    def go_on(self, output: Tensor, open_pass: OpenPass) -> Tensor:
        """Return the tensor with which the model continues."""
        if not output.requires_grad:
            return output
        detached = output.detach()
        if self.kept and open_pass.schedule.keeps_graphs:
            detached = detached.clone()  # the model may modify it in place
        open_pass.detached.append(weakref.ref(detached))
        return detached

    def owners(self) -> Sequence[Tensor]:
        """Return the block's parameters that learn in addition to the state."""
        return [p for _, p in self.block.parameters() if p.requires_grad]

    def at(self, output: Tensor, open_pass: OpenPass) -> At:
        """Return the context for the rule."""
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
        same: Key shared by blocks with the same signal.
    """

    def __init__(self, block: Block, rule: SignalRule, state: dict[str, Tensor]) -> None:
        super().__init__(block, state)
        self.rule = rule
        self.same = rule.same_signal(block)  # once, as a call in every pass would slow small nets
        self.reads_input = "input" in rule.traits.needs  # this rule may differ from the block's
        more = rule.traits.needs & {"input", "output"}
        # A signal that depends only on the pass can be computed at the output, for all blocks.
        self.deferred = bool(more) or bool(state)
        self.kept = "output" in more
        self.fusable = not self.deferred and not rule.traits.counts_passes

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:
        """Return an end for each tensor by which the block is taught."""
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
        previous: The block before this one, which gets the rule's message.
    """

    def __init__(
        self, block: Block, rule: SignalRule, state: dict[str, Tensor], previous: Block | None
    ) -> None:
        super().__init__(block, state)
        self.rule, self.previous = rule, previous
        self.reads_input = "input" in rule.traits.needs  # this rule may differ from the block's
        self.deferred = True
        self.kept = "output" in rule.traits.needs

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:  # noqa: ARG002
        """Return none: the graph continues, and the signal replaces the gradient in it."""
        return ()

    def go_on(self, output: Tensor, open_pass: OpenPass) -> Tensor:
        """Return the output, through a node that replaces its gradient by the signal."""
        if not output.requires_grad:
            return output
        at, before = self.at(output, open_pass), open_pass.exchange
        open_pass.exchange = at
        if before is not None and before.block is not self.previous:
            before = None  # a block between them sends back its gradient
        if self.kept:
            at.output = output.detach()
        self.rule.prepare(at, torch.Size())
        end = SignalEnd(at, output, self.rule, deferred=True, before=before)
        going_on: Tensor = Exchange.apply(output, end, *end.learned())
        del end.root  # the node outlives the block's graph, and must not hold the output
        return going_on


class ByLoss(Taught):
    """A block with its own loss."""

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
        # An empty batch teaches nothing, as under other rules, so no rule has to handle it.
        loss = self.rule.loss(at) if output.numel() else output.sum()
        at.input = at.output = None  # the end outlives the block's graph
        if loss.dim():
            raise UserError(f"the loss of {called} must be a scalar, not {loss.shape}")
        if output.requires_grad and not loss.requires_grad:
            raise UserError(
                f"the loss of {called} does not depend on block '{self.block.name}', which would "
                "never learn: compute it from at.output, not from a detached copy"
            )
        return (LossEnd(at, loss, loss.dtype, loss.device),) if loss.requires_grad else ()

    def _samples_first(self, output: Tensor, run: ForwardPass) -> tuple[Tensor, Axes]:
        """Return the output with its samples first, and the axes of the result."""
        axes, targets = self.block.axes.at(output), run.targets
        if targets is not None:
            targets = targets_first(targets, run.axes)
        batch = next((len(t) for t in (targets, run.inputs) if t is not None and t.dim()), None)
        each = (NODES,) in run.axes.groups  # targets belong to nodes, not to graphs
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
        at: The context for the rule.
        root: The block's output.
        rule: The rule.
        deferred: Whether it is tied only when the model's output is known, and a graph node keeps
            the tensors of `at` instead.
        before: The end of the previous block, which gets the rule's message.
        same: Key shared by blocks with the same signal, if several may have it.
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
            signal = checked(self.rule.signal(at), at)
        else:
            with unscaled(at.run):
                signal = checked(self.rule.signal(at), at) * scale
        same = signal.dtype == at.dtype and signal.device == at.device
        return signal if same else signal.to(at.device, at.dtype)

    def key(self) -> Hashable:
        """Return a key shared by ends with the same signal."""
        at = self.at
        return self.same, at.block.axes, at.shape, at.dtype, at.device

    def learned(self) -> list[Tensor]:
        """Return the state that is learned from gradients that the rule computes."""
        return [t for t in self.at.state.values() if t.requires_grad]

    def learned_gradients(self) -> list[Tensor | None]:
        """Return the gradients of the learned state that the rule has computed."""
        at, scale = self.at, self.at.run.scale
        found = [at.gradients.get(name) for name, t in at.state.items() if t.requires_grad]
        if scale is None or at.block.rule.traits.scales_with_loss:
            return found
        return [None if gradient is None else gradient * scale.to(gradient) for gradient in found]


@dataclass(eq=False, slots=True)
class LossEnd(End):
    """The end of a block with its own loss, which is scaled like the model's loss."""

    at: At
    root: Tensor
    dtype: torch.dtype
    device: torch.device
    deferred: bool = False

    def gradient(self) -> Tensor:
        """Return 1, or the factor by which the caller scaled the model's loss."""
        one = torch.ones((), dtype=self.dtype, device=self.device)
        scale = self.at.run.scale
        return one if scale is None else one * scale.to(one)

    def key(self) -> Hashable:
        """Return a key shared by ends with the same gradient."""
        return LossEnd, self.dtype, self.device


def checked(signal: object, at: At) -> Tensor:
    """Return a rule's signal.

    Raises:
        UserError: It is not a tensor of the shape of the block's output.
    """
    if isinstance(signal, Tensor) and signal.shape == at.shape:
        return signal
    found = f"shape {tuple(signal.shape)}" if isinstance(signal, Tensor) else shown(signal)
    raise UserError(
        f"the signal of {type(at.block.rule).__name__} for block '{at.block.name}' must be a "
        f"tensor of shape {tuple(at.shape)}, that of the block's output (at.shape), not {found}"
    )


def _side_by_side(found: Sequence[Tensor]) -> Tensor | None:
    """Return the input of a block's own loss: its output, or several outputs concatenated."""
    first = found[0] if found else None
    if first is None or len(found) == 1:
        return first
    if any(t.dim() < 2 or len(t) != len(first) for t in found):
        raise UserError(
            "a block returns several tensors that train parameters, and their samples differ, so "
            "no loss can be computed from them: name blocks that return one tensor"
        )
    return torch.cat([t.flatten(1) for t in found], dim=1)
