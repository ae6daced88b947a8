"""What is attached to a model: hooks and swapped classes, and the lesson under way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .blocks import Block
from .errors import UserError
from .ops.chain import Chain, FusedSequential
from .ops.feedback import Feedback
from .rules import OperationRule
from .summary import AttachReport, Row
from .teach import Lesson, Output, Teacher
from .trees import leaves, replaced


class Attachment:
    """Rules attached to a model. Made by `attach`.

    Attributes:
        model: The model, changed in place and never wrapped.
        blocks: The blocks in the order they run; the last one makes the output.
        report: What was changed and what was left alone; print it.
        needs_targets: Whether a forward pass must run inside ``with handle.targets(y)``.
        exact: Whether true gradients flow for now (see `exact_gradients`).
        lesson: The forward pass under way, if it is being taught.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[Block]) -> None:
        called = type(model).__name__
        self.model = model
        self.blocks = tuple(blocks)
        self.exact = False
        self.needs_targets = any(block.rule.needs_targets for block in self.blocks)
        self.lesson: Lesson | None = None
        self._targets: Tensor | None = None
        self._handles: list[RemovableHandle] = []
        self._swapped: list[tuple[nn.Module, type[nn.Module]]] = []
        self._cuts: dict[Block, Teacher | None] = {}
        changes = [block.rule.install(block, self) for block in self.blocks]
        notes = self._hook() if self._cuts else []
        self.report = _report(called, self.blocks, changes, notes)
        vars(model)["_beyondprop"] = self

    @contextmanager
    def targets(self, targets: Tensor) -> Iterator[None]:
        """Give the rules the targets of the forward passes inside the context.

        Args:
            targets: Class numbers, shape ``(batch,)``, or values shaped like the model's output.
        """
        before, self._targets = self._targets, targets
        try:
            yield
        finally:
            self._targets = before

    def remove(self) -> None:
        """Make the model the plain one again. Calling it twice does nothing."""
        for handle in self._handles:
            handle.remove()
        for module, plain in self._swapped:
            module.__class__ = plain
            vars(module).pop("_feedback", None)
            vars(module).pop("_chain", None)
        self._handles, self._swapped = [], []
        vars(self.model).pop("_beyondprop", None)

    def cut(self, block: Block, teacher: Teacher | None) -> None:
        """Have a block's output detached, and its gradient there given by ``teacher``."""
        self._cuts[block] = teacher

    def swap(
        self, module: nn.Module, stand_in: type[nn.Module], rule: OperationRule, stream: int
    ) -> None:
        """Give a layer the class with a backward of its own."""
        self._swapped.append((module, type(module)))
        module.__class__ = stand_in
        vars(module)["_feedback"] = Feedback(self, rule, stream)

    def _hook(self) -> list[str]:
        """Put the hooks that make the cuts in place."""
        taps: dict[nn.Module, TapHook] = {}
        for block in self.blocks:
            if block.tail is not None:
                tap = taps.setdefault(block.tail, TapHook(self))
                tap.turns.append((block.stream, self._cuts[block]) if block in self._cuts else None)
        for tail, tap in taps.items():
            if any(tap.turns):
                self._handles.append(tail.register_forward_hook(tap))
        chain = Chain.of(self, self._cuts)
        if chain is None:
            self._handles.append(self.model.register_forward_pre_hook(self._before))
            self._handles.append(self.model.register_forward_hook(self._after))
            return []
        self._swapped.append((self.model, type(self.model)))
        vars(self.model)["_chain"] = chain
        self.model.__class__ = FusedSequential
        return ["small batches run as one fused chain of linear layers"]

    def _before(self, _model: nn.Module, _inputs: Any) -> None:
        self.begin()

    def _after(self, _model: nn.Module, _inputs: Any, outputs: Any) -> Any:
        return self.end(outputs)

    def begin(self) -> None:
        """Open the lesson of a forward pass that begins, if it is to be taught."""
        self.lesson = None
        if self.exact or not torch.is_grad_enabled():
            return
        if self.needs_targets and self._targets is None:
            rule = next(b.rule for b in self.blocks if b.rule.needs_targets)
            raise UserError(
                f"{type(rule).__name__} needs targets: run the forward pass inside "
                "`with handle.targets(y):`, or under torch.no_grad() or exact_gradients(model)"
            )
        self.lesson = Lesson(targets=self._targets)

    def end(self, outputs: Any) -> Any:
        """Close the lesson: tie its taps to the model's outputs, and return the outputs tied."""
        lesson, self.lesson = self.lesson, None
        if lesson is None or not lesson.handed:
            return outputs
        handed = {id(tensor) for tensor in (ref() for ref in lesson.handed) if tensor is not None}
        found = list(leaves(outputs))
        own = [t for t in found if t.requires_grad]
        if not own and any(p.requires_grad for _, p in self.blocks[-1].parameters()):
            raise UserError(
                f"no output of the model comes out of the last block, '{self.blocks[-1].name}': "
                "name the blocks in the order they run"
            )
        taught = [t for t in found if t.requires_grad or id(t) in handed] or [
            t for t in found if t.is_floating_point()
        ]
        if any(t.dim() == 0 for t in taught):
            raise UserError(
                "the model returns a scalar (its loss?), which cannot teach blocks sample by "
                "sample: attach to the module that returns the predictions"
            )
        if not lesson.tokens:
            return outputs
        new = Output.apply(lesson, len(taught), *taught, *lesson.tokens)
        lesson.tokens, lesson.handed = [], []
        swaps = {id(old): fresh for old, fresh in zip(taught, new, strict=True)}
        return replaced(outputs, lambda tensor: swaps.get(id(tensor), tensor))


class TapHook:
    """The forward hook on the module whose output is a block's.

    Blocks of a chain may share that module (one activation used again and again): then its n-th
    call in a forward pass is the n-th block's turn.
    """

    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self.turns: list[tuple[int, Teacher | None] | None] = []

    def __call__(self, module: nn.Module, _inputs: Any, outputs: Any) -> Any:
        """Cut the graph at the block's output."""
        lesson = self.attachment.lesson
        if lesson is None:
            return outputs
        turn = self.turns[0] if len(self.turns) == 1 else self.turns[lesson.turn(module)]
        if turn is None:
            return outputs
        stream, teacher = turn
        if isinstance(outputs, Tensor):
            return lesson.tap(outputs, teacher, stream)
        return replaced(outputs, lambda tensor: lesson.tap(tensor, teacher, stream))


def _report(
    model: str, blocks: Sequence[Block], changes: Sequence[str], notes: Sequence[str]
) -> AttachReport:
    rows = [
        Row(
            block.name,
            type(block.rule).__name__,
            sum(p.numel() for _, p in block.parameters() if p.requires_grad),
            change,
        )
        for block, change in zip(blocks, changes, strict=True)
    ]
    return AttachReport(model, rows, notes)
