"""The joint schedule: all blocks learn in the backward pass of the user's own loss.

Signals enter the graph through its autograd functions.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from beyondprop._torch.tracing import no_second_derivative
from beyondprop.core import At, Block, ForwardPass, Schedule
from beyondprop.engine.scale import ScaleWatch, before_scale
from beyondprop.engine.settings import SETTINGS
from beyondprop.errors import UserError


class Joint(Schedule):
    """Ties the ends of one forward pass to the model's outputs; created for every pass.

    Attributes:
        ties: The tensor that ties each end to the outputs: its root, or the token of a separate
            node.
        ends: The end of each tie; None if a separate node computes the signal.
        blocks: The block of each tie.
        reading: The ends that are tied only when the model's outputs are known.
        keys: The key of each tie's signal; None if the signal is not shared.
    """

    def __init__(self) -> None:
        self.ties: list[Tensor] = []
        self.ends: list[Any] = []
        self.blocks: list[Block | None] = []
        self.reading: list[Any] = []
        self.keys: list[Hashable] = []
        self._small = 0
        self._of_small: set[Hashable] = set()
        self._of_large: set[Hashable] = set()

    def take(self, ends: Sequence[Any]) -> None:
        """Store the ends of a block."""
        for end in ends:
            if end.deferred:  # its state may depend on the shape of the model's output
                self.reading.append(end)
                continue
            self.blocks.append(end.at.block)
            key, numbers = end.key(), end.root.numel()
            # Blocks with the same signal share its memory.
            more = 0 if key in self._of_small else numbers
            small = numbers <= SETTINGS.node_above and self._small + more <= SETTINGS.nodes_after
            if small:
                self._small += more
                self._of_small.add(key)
                self.ties.append(end.root)
            else:
                self.ties.append(Signal.apply(end.root, end, key, key in self._of_large))
                self._of_large.add(key)
            self.ends.append(end if small else None)
            self.keys.append(key)
            del end.root  # the nodes outlive the block's graph, and must not hold its output

    def _tie_by_node(self, token: Tensor) -> None:
        """Store a tie whose signal a separate node computes."""
        self.ties.append(token)
        self.ends.append(None)
        self.keys.append(None)

    def prepare(self, outputs: Sequence[Tensor]) -> None:
        """Tie the deferred ends, now that the shape of the error is known.

        Raises:
            UserError: The model has several outputs, but a rule supports only one.
        """
        for end in self.reading:
            if len(outputs) != 1 and end.rule.traits.one_output:
                raise UserError(
                    f"{type(end.rule).__name__} supports one output only; the model has "
                    f"{len(outputs)}"
                )
            end.rule.prepare(end.at, outputs[0].shape)
            self._tie_by_node(Signal.apply(end.root, end, None, False, *end.learned()))
            del end.root
            self.blocks.append(end.at.block)
        self.reading = []

    def tie(
        self, run: ForwardPass, outputs: Sequence[Tensor], watch: ScaleWatch | None
    ) -> Sequence[Tensor]:
        """Return the outputs, tied to all ends.

        Args:
            run: The pass.
            outputs: The model's outputs.
            watch: Records the scale of the loss, if a rule's signals do not scale with it.
        """
        ties, self.ties = self.ties, []
        small = self.ends, self.keys
        tied: Sequence[Tensor] = Output.apply(run, small, watch, len(outputs), *outputs, *ties)
        return tied

    def tie_nothing(self) -> None:
        """Add a dummy tie, so that the caller can call ``backward()`` after all blocks learned."""
        self._tie_by_node(torch.zeros((), requires_grad=True))


class Signal(torch.autograd.Function):
    """The end of a large block's graph: its backward computes the signal.

    Autograd runs the latest nodes first: it computes the signal of block k, runs the backward pass
    of block k, frees both, and only then continues with block k - 1. Therefore only one signal is
    in memory at a time, except that a signal that an earlier block gets too is held until then.
    """

    @staticmethod
    def forward(
        ctx: Any, root: Tensor, end: Any, key: Hashable, repeated: bool, *learned: Tensor
    ) -> Tensor:
        """Return a token, a scalar that is never read.

        Args:
            ctx: The node.
            root: The block's output.
            end: Its end.
            key: Key shared by ends with the same signal; not read if the end is deferred.
            repeated: Whether an earlier block, whose backward runs later, gets the same signal.
            learned: The rule's learned state.
        """
        ctx.end, ctx.key, ctx.repeated = end, key, repeated
        ctx.set_materialize_grads(False)
        if end.deferred:
            _keep(ctx, end, learned)
        return root.new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: None) -> Any:
        """Return the signal, and the gradients of what the rule learns."""
        if ctx.end.deferred:
            signal, none, *learned = _signal_of_output(ctx)
            return signal, none, None, None, *learned
        return _shared_signal(ctx.end, ctx.key, ctx.repeated), None, None, None


class Exchange(torch.autograd.Function):
    """The end of a block that receives a message or gradient from the next block.

    The graph continues, but the rule's signal replaces the gradient that arrives from the next
    block. `At.sent_back` is the next block's message if its rule set one, else that gradient.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, end: Any, *learned: Tensor) -> Tensor:
        """Return the output unchanged."""
        ctx.end = end
        ctx.replaces_gradient = True  # read by walks through the graph
        ctx.set_materialize_grads(False)
        _keep(ctx, end, learned)
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        """Return the signal, and the gradients of what the rule learns."""
        if torch.is_grad_enabled() and not torch.compiler.is_dynamo_compiling():
            raise no_second_derivative()
        end, at = ctx.end, ctx.end.at
        message, at.sent_back = at.sent_back, None
        sent = _unscaled_gradient(gradients[0], at) if message is None else message
        # Cleared in every backward pass, so that no message of an earlier one is used.
        if end.before is not None:
            end.before.sent_back = None
        if sent is None:
            return (None,) * len(ctx.needs_input_grad)
        at.sent_back, at.message = sent, None
        found = _signal_of_output(ctx)
        if end.before is not None:
            end.before.sent_back = at.message
        at.sent_back = at.message = None
        return found


class Output(torch.autograd.Function):
    """The model's outputs: passes the exact error to the last block, and records it in the pass."""

    @staticmethod
    def forward(
        ctx: Any,
        run: ForwardPass,
        small: tuple[Sequence[Any], Sequence[Hashable]],
        watch: ScaleWatch | None,
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the first ``count`` tensors, the outputs; the others tie the ends to them."""
        ctx.run, ctx.watch, ctx.takes_scale = run, watch, True
        ctx.ends, ctx.keys = small
        ctx.leads_on = run.inputs is not None and run.inputs.requires_grad
        ctx.set_materialize_grads(False)
        return tuple(map(Tensor.detach, tensors[:count]))

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> Any:
        """Store the errors for the rules, and return the gradients of the small ends."""
        if torch.is_grad_enabled() and not torch.compiler.is_dynamo_compiling():
            raise no_second_derivative()
        ctx.run.errors = errors
        ctx.run.shared.pop(Signal, None)  # of another backward pass, with other errors
        if ctx.watch is not None:
            ctx.watch.hear(ctx)
        found: dict[Any, Tensor] = {}  # shared by small blocks with the same signal
        gradients: list[Tensor | None] = [None] * len(ctx.ends)
        for i in range(len(ctx.ends) - 1, -1, -1):
            end = ctx.ends[i]
            if end is not None:
                key = ctx.keys[i]
                gradient = found.get(key)
                if gradient is None:
                    gradient = found[key] = end.gradient()
                gradients[i] = gradient
        return None, None, None, None, *errors, *gradients


class HandedOn(torch.autograd.Function):
    """A block's output that the model returns too: it can be read, but carries no gradient."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, token: Tensor) -> Tensor:  # noqa: ARG004
        """Return the output; the token makes autograd create a node."""
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ARG004
        """Refuse the gradient."""
        raise UserError(
            "a loss uses the output of a block whose graph its rule ends, and no gradient reaches "
            "the block from there: detach it, or give the block Backprop() in a separate pattern"
        )


def _shared_signal(end: Any, key: Hashable, repeated: bool) -> Tensor:
    """Return a block's signal: computed, or held from a later block with the same signal.

    Args:
        end: The end of the block.
        key: Key shared by ends with the same signal.
        repeated: Whether to hold it for an earlier block.
    """
    shared = end.at.run.shared  # of this backward pass: `Output.backward` clears it
    held: dict[Hashable, Tensor] = shared.setdefault(Signal, {})
    signal = held.pop(key, None)
    if signal is None:
        signal = end.gradient()
    if repeated:  # at most one signal is held per freed block
        held[key] = signal
    return signal


def _unscaled_gradient(gradient: Tensor | None, at: At) -> Tensor | None:
    """Return a gradient from the next block, without the scale of the loss."""
    scale = at.run.scale
    if gradient is None or scale is None or at.block.rule.traits.scales_with_loss:
        return gradient
    return before_scale(gradient, scale)


def _keep(ctx: Any, end: Any, learned: Sequence[Tensor]) -> None:
    """Save the rule's tensors in the node, so that they are freed with the graph."""
    at = end.at
    ctx.save_for_backward(at.input, at.output, *learned)
    at.input = at.output = None


def _signal_of_output(ctx: Any) -> tuple[Tensor | None, ...]:
    """Return a signal that depends on the block's output, and gradients of the learned state."""
    end, at = ctx.end, ctx.end.at
    at.input, at.output, *_ = ctx.saved_tensors
    at.gradients.clear()
    try:
        return end.gradient(), None, *end.learned_gradients()
    finally:
        at.input = at.output = None
        at.gradients.clear()
