"""The attachment of rules to a model: the user's handle, and the host that rules see."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from beyondprop._torch.eager import forget_compiled
from beyondprop.core import Block, Host, LayerRule, LossRule, ModelRule, Schedule, SignalRule
from beyondprop.engine import forms
from beyondprop.engine.detach import HANDLE, ByLoss, ByMessage, BySignal, Taught, Untaught, mark
from beyondprop.engine.forms import Change
from beyondprop.engine.model_forward import ModelForward
from beyondprop.engine.passes import Passes
from beyondprop.engine.ports import Ports
from beyondprop.engine.report import AttachReport, report, with_feedback
from beyondprop.engine.scale import told_scale
from beyondprop.engine.state import clears_feedback
from beyondprop.engine.swap import SwappedLayers
from beyondprop.engine.targets import Targets, as_targets
from beyondprop.errors import check_type

CHANGING = threading.RLock()
"""Held while a model is changed, so that two threads never change it at the same time."""


class Attachment(Host):
    """Rules attached to a model. Made by `attach`.

    Attributes:
        model: The model, changed in place and never wrapped.
        blocks: The blocks in the order they run; the last one makes the output.
        passes: The handling of the model's forward passes.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[Block], ports: Ports) -> None:
        self.model = model
        self.blocks = tuple(blocks)
        self.passes = Passes(model, self.blocks, ports)
        self._changes: list[Change] = []
        called = type(model).__name__  # before a faster form gives it another class
        try:
            changes = [block.rule.install(block, self) for block in self.blocks]
            self._changes += forms.install(self.passes)
            self._changes += clears_feedback(model, self.passes.state)
            forget_compiled()
        except BaseException:
            self.remove()
            raise
        self._report = report(called, self.passes, changes, ports)
        vars(model)[HANDLE] = self
        mark(model, self.passes.mode)

    @property
    def report(self) -> AttachReport:
        """What was changed, what was left unchanged, and which feedback is used; print it."""
        return with_feedback(self._report, self.blocks)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    @property
    def needs_targets(self) -> bool:
        """Whether a forward pass must run inside ``with handle.targets(y)``."""
        return self.passes.needs_targets

    @property
    def exact(self) -> bool:
        """Whether true gradients flow for now (see `exact_gradients`)."""
        return self.passes.mode.exact > 0

    @property
    def schedule(self) -> Schedule | None:
        """When blocks learn; None for the ordinary loop, in the backward pass of the loss."""
        return self.passes.schedule

    def targets(self, targets: Any) -> AbstractContextManager[None]:
        """Give the rules the targets of the forward passes inside the context.

        Args:
            targets: Class numbers, shape ``(batch,)``, or values shaped like the model's output: a
                tensor, or what `torch.tensor` makes one of (an array, a list of numbers).

        Raises:
            UserError: They cannot be converted to a tensor.
        """
        if self.needs_targets or not isinstance(targets, Tensor):
            targets = as_targets(targets)
        return Targets(self.passes, targets)

    def loss(self, loss: Tensor) -> Tensor:
        """Return the loss unchanged, so that signals are scaled with it.

        Some rules compute signals that the gradient of the loss does not carry. If you divide the
        loss (gradient accumulation) or multiply it (a gradient scaler) after this call, these
        signals are scaled too: ``scaler.scale(handle.loss(loss) / 4).backward()``.

        Raises:
            UserError: The loss is not a scalar.
        """
        return loss if self.passes.watch is None else told_scale(loss)

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that rules learn in addition to the model: feedback and heads.

        The optimizer must hold them too: ``Optimizer([*model.parameters(), *handle.parameters()])``
        works with every rule. `model.state_dict` does not include them.
        """
        return self.passes.state.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that a checkpoint needs in addition to the model's.

        It holds learned feedback and heads, the seeds of fixed feedback (as JSON, in bytes) and the
        shots of a photonic co-processor. Empty for rules without any of these.
        """
        return self.passes.state.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state_dict` returned.

        Raises:
            UserError: It was saved by other rules, with another seed, or on another model.
        """
        self.passes.state.load_state_dict(state)

    def follow(self, schedule: Schedule | None) -> None:
        """Set when the blocks learn; None restores the ordinary loop.

        Raises:
            UserError: An attached rule cannot learn under it; the message names alternatives.
        """
        if schedule is not None:
            check_type("the schedule", schedule, Schedule, "one, such as Immediate(optimizer)")
            schedule.check(self.blocks)
        self.passes.schedule = schedule

    def remove(self) -> None:
        """Restore the plain model. A second call does nothing.

        Raises:
            UserError: A layer's class was changed since attaching; undo this first.
        """
        with CHANGING:
            for change in self._changes:
                if isinstance(change, SwappedLayers):
                    change.check()
            for change in self._changes:
                change.remove()
            self._changes = []
            forget_compiled()
            vars(self.model).pop(HANDLE, None)
            mark(self.model, None)

    def taught(self, block: Block) -> Taught | None:
        """Return how the end of a block is taught; None if its graph continues."""
        return self.passes.taught.get(block)

    def end_by_signal(self, block: Block, rule: SignalRule, state: dict[str, Tensor]) -> None:
        """End the graph at the block's output, to which the rule gives a signal."""
        if "sent_back" in rule.traits.needs:
            place = self.blocks.index(block)
            previous = self.blocks[place - 1] if place else None
            self._end(block, ByMessage(block, rule, state, previous))
        else:
            self._end(block, BySignal(block, rule, state))

    def end_by_loss(self, block: Block, rule: LossRule, state: dict[str, Tensor]) -> None:
        """End the graph at the block's output, to which the rule gives its own loss."""
        self._end(block, ByLoss(block, rule, state))

    def end_untaught(self, block: Block) -> None:
        """End the graph at the block's output and teach it nothing."""
        self._end(block, Untaught(block))

    def _end(self, block: Block, taught: Taught) -> None:
        self.passes.taught[block] = taught
        if taught.state or block.rule.traits.counts_passes:
            self.passes.state.hold(block.name, taught)

    def swap_layers(self, block: Block, rule: LayerRule) -> str:
        """Give the block's layers their own backward pass; return a description of the change."""
        swapped = SwappedLayers(block, rule, self.passes.mode)
        self._changes.append(swapped)
        swapped.swap()
        for name, at in swapped.with_state().items():
            self.passes.state.hold(name, at)
        return swapped.describe()

    def replace_forward(self, rule: ModelRule) -> None:
        """Let the rule run the model's forward pass."""
        if any(isinstance(change, ModelForward) for change in self._changes):
            return
        forward = ModelForward(rule, self.passes, rule.start(self.model))
        self._changes.append(forward)
        forward.replace()
        if forward.state or rule.traits.counts_passes:
            self.passes.state.hold("model", forward)
