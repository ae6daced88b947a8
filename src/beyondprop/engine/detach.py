"""The one place where a block's graph ends, and what teaches the block there.

`detach` is called with what a block returned. It hands the end of the block's graph to the
schedule, and returns the same tensors detached, so that no gradient passes from block to block.
"""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.core import At, Block, End, ForwardPass, LossRule, Schedule, SignalRule
from beyondprop.engine.functions import Exchange
from beyondprop.engine.joint import Joint
from beyondprop.errors import UserError


@dataclass(eq=False)
class OpenPass:
    """A forward pass that is being taught, as the engine sees it.

    Attributes:
        run: What rules see of it.
        joint: What learns in the backward pass; ties it to the model's outputs.
        schedule: What takes the ends of blocks: the joint schedule, or one that the user chose.
        detached: The detached tensors that the model went on with, while they live.
        calls: How often a module that several blocks share was called.
        inputs: What each block was given, where its rule needs that.
        exchanges: Whether a block sends something back through its graph.
    """

    run: ForwardPass
    joint: Joint
    schedule: Schedule
    detached: list[weakref.ref[Tensor]] = field(default_factory=list)
    calls: dict[nn.Module, int] = field(default_factory=dict)
    inputs: dict[Block, Tensor] = field(default_factory=dict)
    exchanges: bool = False

    def call_of(self, module: nn.Module) -> int:
        """Count the calls of a module in this pass; the first is 0."""
        call = self.calls.get(module, 0)
        self.calls[module] = call + 1
        return call

    def is_detached(self, tensor: Tensor) -> bool:
        """Whether this is the detached output of a block."""
        return any(ref() is tensor for ref in self.detached)


def detach(outputs: Any, taught: "Taught", open_pass: OpenPass) -> Any:
    """End a block's graph: hand its end to the schedule, and return its outputs detached."""
    ends = taught.ends(outputs, open_pass)
    if ends:
        open_pass.schedule.take(ends)
    if isinstance(outputs, Tensor):
        return taught.go_on(outputs, open_pass)
    return replaced(outputs, lambda tensor: taught.go_on(tensor, open_pass))


class Taught(ABC):
    """What is done at the end of one block, in every forward pass.

    Attributes:
        block: The block.
        state: What its rule keeps for it from pass to pass.
        parameters: The block's own parameters, which learn beside what is in the state.
        reads_input: Whether the rule needs what the block is given.
        fusable: Whether a fused chain can teach the block.
    """

    def __init__(
        self, block: Block, state: dict[str, Tensor], parameters: Sequence[nn.Parameter]
    ) -> None:
        self.block, self.state, self.parameters = block, state, parameters
        self.reads_input = "input" in block.rule.traits.needs
        self.fusable = False

    @abstractmethod
    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:
        """Return the ends of the block's graph that teach it; none where it learns nothing."""

    def go_on(self, output: Tensor, open_pass: OpenPass) -> Tensor:
        """Return the tensor that the model goes on with."""
        if not output.requires_grad:
            return output
        detached = output.detach()
        if self.copies(open_pass):
            detached = detached.clone()
        open_pass.detached.append(weakref.ref(detached))
        return detached

    def copies(self, open_pass: OpenPass) -> bool:  # noqa: ARG002
        """Whether the output is needed later as it is: the model may work in place on it."""
        return False

    def owners(self) -> Sequence[Tensor]:
        """Return the parameters that learn beside the state."""
        return self.parameters

    def at(self, output: Tensor, open_pass: OpenPass) -> At:
        """Return where the rule is asked."""
        at = At(
            self.block,
            open_pass.run,
            self.state,
            output.shape,
            output.dtype,
            output.device,
        )
        if open_pass.inputs:
            at.input = open_pass.inputs.get(self.block)
        return at


class Untaught(Taught):
    """A block whose graph ends and which learns nothing."""

    def __init__(self, block: Block) -> None:
        super().__init__(block, {}, ())
        self.fusable = True

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:  # noqa: ARG002
        """Return none."""
        return ()


class BySignal(Taught):
    """A block whose rule gives its output a signal.

    Attributes:
        rule: The rule.
        reads_output: Whether the signal depends on more than the pass: on the block's own output
            or input, or on what the next block sends back.
        sends_back: Whether it depends on what the next block sends back.
    """

    def __init__(
        self,
        block: Block,
        rule: SignalRule,
        state: dict[str, Tensor],
        parameters: Sequence[nn.Parameter],
    ) -> None:
        super().__init__(block, state, parameters)
        self.rule = rule
        self.reads_output = bool(rule.traits.needs & {"input", "output", "sent_back"})
        self.sends_back = "sent_back" in rule.traits.needs
        self.fusable = not self.reads_output and not state

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:
        """Return one end for each tensor that the block returned."""
        if self.sends_back:
            return ()
        tensors = (outputs,) if isinstance(outputs, Tensor) else leaves(outputs)
        return [self.end(output, open_pass) for output in tensors if output.requires_grad]

    def end(self, output: Tensor, open_pass: OpenPass) -> "SignalEnd":
        """Return the end at one tensor."""
        at = self.at(output, open_pass)
        if self.reads_output:
            at.output = output.detach()
        return SignalEnd(at, output, self.rule, self.reads_output)

    def go_on(self, output: Tensor, open_pass: OpenPass) -> Tensor:
        """Return the detached output, or one that hands on what the next block sends back."""
        if not self.sends_back or not output.requires_grad:
            return super().go_on(output, open_pass)
        open_pass.exchanges = True
        end = self.end(output, open_pass)
        self.rule.prepare(end.at, torch.Size())
        going_on: Tensor = Exchange.apply(output, end, *end.learned())
        return going_on

    def copies(self, open_pass: OpenPass) -> bool:  # noqa: ARG002
        """Whether the signal depends on the output."""
        return self.reads_output


class ByLoss(Taught):
    """A block that lowers a loss of its own."""

    def __init__(
        self,
        block: Block,
        rule: LossRule,
        state: dict[str, Tensor],
        parameters: Sequence[nn.Parameter],
    ) -> None:
        super().__init__(block, state, parameters)
        self.rule = rule

    def ends(self, outputs: Any, open_pass: OpenPass) -> Sequence[End]:
        """Return the end at the block's loss."""
        output = _side_by_side(outputs)
        if output is None:
            return ()
        at = self.at(output, open_pass)
        at.output = output
        loss = self.rule.loss(at)
        if loss.dim():
            raise UserError(
                f"the loss of {type(self.rule).__name__} must be one number, not {loss.shape}"
            )
        return (LossEnd(at, loss),) if loss.requires_grad else ()

    def copies(self, open_pass: OpenPass) -> bool:
        """Whether the loss's graph is kept until the model has run."""
        return open_pass.schedule.keeps_graphs


@dataclass(eq=False, slots=True)
class SignalEnd(End):
    """The end of a block whose rule gives it a signal.

    Attributes:
        at: Where it is.
        root: The block's output.
        rule: The rule.
        reads_output: Whether `at` holds tensors that a graph node must keep in its place.
    """

    at: At
    root: Tensor
    rule: SignalRule
    reads_output: bool = False

    def gradient(self) -> Tensor:
        """Return the rule's signal."""
        at = self.at
        return self.rule.signal(at).to(at.device, at.dtype)

    def key(self) -> Hashable:
        """Return what ends with the same signal have in common."""
        at = self.at
        return self.rule.same_signal(at.block), at.shape, at.dtype, at.device

    def learned(self) -> list[Tensor]:
        """Return what is learned beside the block, by gradients that the rule makes."""
        return [t for t in self.at.state.values() if t.requires_grad]

    def learned_gradients(self) -> list[Tensor | None]:
        """Return the gradients that the rule has made of what is learned."""
        at = self.at
        return [at.gradients.get(name) for name, t in at.state.items() if t.requires_grad]


@dataclass(eq=False, slots=True)
class LossEnd(End):
    """The end of a block with a loss of its own: whatever the model's loss, its gradient is 1."""

    at: At
    root: Tensor
    reads_output: bool = False

    def gradient(self) -> Tensor:
        """Return 1."""
        return torch.ones_like(self.root)

    def key(self) -> Hashable:
        """Return what no other end has."""
        return id(self)


def _side_by_side(outputs: Any) -> Tensor | None:
    """Return what a block's own loss is made of: its output, or several next to one another."""
    if isinstance(outputs, Tensor):
        return outputs if outputs.is_floating_point() else None
    found = [t for t in leaves(outputs) if t.is_floating_point()]
    first = found[0] if found else None
    if first is None or any(t.dim() < 2 or len(t) != len(first) for t in found[1:]):
        return first
    if len(found) == 1:
        return first
    return torch.cat([t.flatten(1) for t in found], dim=1)
