"""The forward passes of an attached model: opened, checked, tied to their outputs, closed."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.core import Block, ForwardPass, Mode, Schedule
from beyondprop.engine.checks import check_guess, check_outputs
from beyondprop.engine.detach import OpenPass, Taught
from beyondprop.engine.graph import check_ends
from beyondprop.engine.joint import Joint
from beyondprop.engine.state import State
from beyondprop.errors import UserError, changed
from beyondprop.shapes import classes_of


class Passes:
    """What happens in the forward passes of a model; hooks and fast forms work with it alone.

    Attributes:
        model: The model.
        blocks: Its blocks, in the order they run.
        mode: What holds for the passes to come.
        state: What is kept from pass to pass.
        taught: What is done at the end of each block whose graph ends.
        schedule: When blocks learn; None for the joint schedule.
        targets: What the caller gave for the passes to come.
        expected: Modules that must stay where they are: parent, name in it, module.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[Block]) -> None:
        self.model = model
        self.blocks = tuple(blocks)
        self.mode = Mode()
        self.state = State(self.mode, self.blocks)
        self.taught: dict[Block, Taught] = {}
        self.schedule: Schedule | None = None
        self.targets: Tensor | None = None
        self.expected: list[tuple[nn.Module, str, nn.Module]] = []
        self.classes = classes_of(model)
        self._needs_targets = next(
            (type(b.rule).__name__ for b in self.blocks if "targets" in b.rule.traits.needs), None
        )
        self._checked = False
        self._open = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        # A copy made inside a context, or after a pass that failed, starts outside of both.
        return {**vars(self), "targets": None, "_open": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open = threading.local()

    @property
    def open_pass(self) -> OpenPass | None:
        """The innermost forward pass under way in this thread, if it is being taught."""
        stack = getattr(self._open, "stack", None)
        return stack[-1] if stack else None

    @property
    def needs_targets(self) -> bool:
        """Whether a rule needs targets."""
        return self._needs_targets is not None

    def enter(self, inputs: Any) -> None:
        """Open a forward pass that begins with these, if it is to be taught."""
        if not hasattr(self._open, "stack"):
            self._open.stack = []
        self._open.stack.append(None)
        self._open.stack[-1] = self.new_pass(inputs)

    @contextmanager
    def inside(self, open_pass: OpenPass) -> Iterator[None]:
        """Let this thread run blocks by themselves as parts of a pass that was opened elsewhere."""
        if not hasattr(self._open, "stack"):
            self._open.stack = []
        self._open.stack.append(open_pass)
        try:
            yield
        finally:
            self._open.stack.pop()

    def close(self) -> None:
        """Leave the forward pass, finished or failed."""
        if getattr(self._open, "stack", None):
            self._open.stack.pop()

    def new_pass(self, inputs: Any = None) -> OpenPass | None:
        """Return a forward pass that begins, None if it is not to be taught."""
        if self.mode.exact or not torch.is_grad_enabled():
            return None
        training = self.model.training
        if self.state.needed:
            self.state.begin(training)
        if self._needs_targets is not None and self.targets is None:
            raise UserError(
                f"{self._needs_targets} needs targets: run the forward pass inside "
                "`with handle.targets(y):`, or under torch.no_grad() or exact_gradients(model)"
            )
        for parent, key, module in self.expected:
            if getattr(parent, key, None) is not module:
                raise changed(key)
        joint = Joint()
        schedule: Schedule = joint
        if self.schedule is not None and training:
            schedule = self.schedule
            schedule.begin()
        run = ForwardPass(
            inputs if isinstance(inputs, Tensor) else next(leaves(inputs), None),
            self.targets,
            training,
            self.mode.number,
            self.classes,
            self.blocks[-1].axes,
        )
        return OpenPass(run, joint, schedule)

    def leave(self, outputs: Any) -> Any:
        """Tie the ends of the forward pass to the model's outputs; return the outputs tied."""
        open_pass = self.open_pass
        if open_pass is None:
            return outputs
        found = [outputs] if isinstance(outputs, Tensor) else list(leaves(outputs))
        found = [t for t in found if t.is_floating_point() or t.is_complex()]
        joint = open_pass.joint
        joint.prepare(found)
        if not self._checked and not torch.compiler.is_compiling():
            check_ends(self.taught, joint.ties, joint.blocks, found)
            self._checked = True
        if not open_pass.detached and not open_pass.exchanges:
            return outputs
        immediate = open_pass.schedule is not joint
        if immediate:
            check_guess(open_pass.run, found)
        if not self.blocks[-1].rule.traits.ends_graph:
            check_outputs(open_pass, self.blocks[-1], found)
        if immediate and not any(t.requires_grad for t in found):
            joint.tie_nothing()
        if not joint.ties:
            return outputs
        tied = joint.tie(open_pass.run, found)
        if outputs is found[0]:
            return tied[0]
        swaps = {id(old): new for old, new in zip(found, tied, strict=True)}
        return replaced(outputs, lambda tensor: swaps.get(id(tensor), tensor))
