"""What is attached to a model: hooks and swapped classes, and the lesson under way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .blocks import Block
from .chain import TaughtSequential, fuse, is_plain_chain
from .errors import UserError
from .ops.feedback import Feedback
from .rules import OperationRule
from .summary import AttachReport, Row
from .teach import Cut, Lesson, Output
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
        self._cuts: dict[Block, Cut] = {}
        changes = [block.rule.install(block, self) for block in self.blocks]
        if self._cuts:
            self._hook()
        self.report = _report(called, self.blocks, changes)
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
            for name in ("_feedback", "_chain", "_fused"):
                vars(module).pop(name, None)
        self._handles, self._swapped = [], []
        vars(self.model).pop("_beyondprop", None)

    def cut(self, block: Block, cut: Cut) -> None:
        """Have the graph cut at a block's output."""
        self._cuts[block] = cut

    def swap(
        self, module: nn.Module, stand_in: type[nn.Module], rule: OperationRule, stream: int
    ) -> None:
        """Give a layer the class with a backward of its own."""
        self._swapped.append((module, type(module)))
        module.__class__ = stand_in
        vars(module)["_feedback"] = Feedback(self, rule, stream)

    def _hook(self) -> None:
        """Put in place what makes the cuts: hooks, or for a plain chain a class of its own."""
        if is_plain_chain(self.model, self.blocks):
            self._swapped.append((self.model, type(self.model)))
            self.model.__class__ = TaughtSequential
            vars(self.model)["_chain"] = [
                ([module for _, module in block.modules], self._cuts.get(block))
                for block in self.blocks
            ]
            vars(self.model)["_fused"] = fuse(self.blocks, self._cuts)
            return
        taps: dict[nn.Module, TapHook] = {}
        for block in self.blocks:
            if block.tail is not None:
                taps.setdefault(block.tail, TapHook(self)).turns.append(self._cuts.get(block))
        for tail, tap in taps.items():
            if any(tap.turns):
                self._handles.append(tail.register_forward_hook(tap))
        self._handles.append(self.model.register_forward_pre_hook(self._before))
        self._handles.append(self.model.register_forward_hook(self._after))

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
        self.lesson = Lesson(self._targets)

    def end(self, outputs: Any) -> Any:
        """Close the lesson: tie its taps to the model's outputs, and return the outputs tied."""
        lesson, self.lesson = self.lesson, None
        if lesson is None or not lesson.handed:
            return outputs
        if isinstance(outputs, Tensor) and outputs.requires_grad and outputs.dim() and lesson.taps:
            (new,) = Output.apply(lesson, 1, outputs, *lesson.taps)
            lesson.taps = []
            return new
        found = list(leaves(outputs))
        taught = [t for t in found if t.requires_grad]
        if not taught and any(p.requires_grad for _, p in self.blocks[-1].parameters()):
            raise UserError(
                f"no output of the model comes out of the last block, '{self.blocks[-1].name}': "
                "name the blocks in the order they run"
            )
        if len(taught) < len(found):
            taught = [t for t in found if t.requires_grad or lesson.handed_on(t)] or [
                t for t in found if t.is_floating_point()
            ]
        if any(t.dim() == 0 for t in taught):
            raise UserError(
                "the model returns a scalar (its loss?), which cannot teach blocks sample by "
                "sample: attach to the module that returns the predictions"
            )
        if not lesson.taps:
            return outputs
        new = Output.apply(lesson, len(taught), *taught, *lesson.taps)
        lesson.taps = []
        swaps = {id(old): fresh for old, fresh in zip(taught, new, strict=True)}
        return replaced(outputs, lambda tensor: swaps.get(id(tensor), tensor))


class TapHook:
    """The forward hook on the module whose output is a block's.

    Blocks of a chain may share that module (one activation used again and again): then its n-th
    call in a forward pass is the n-th block's turn.
    """

    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self.turns: list[Cut | None] = []

    def __call__(self, module: nn.Module, _inputs: Any, outputs: Any) -> Any:
        """Cut the graph at the block's output."""
        lesson = self.attachment.lesson
        if lesson is None:
            return outputs
        cut = self.turns[lesson.turn(module) % len(self.turns)]
        return outputs if cut is None else lesson.tap(outputs, cut)


def _report(model: str, blocks: Sequence[Block], changes: Sequence[str]) -> AttachReport:
    rows = [
        Row(
            block.name,
            type(block.rule).__name__,
            sum(p.numel() for _, p in block.parameters() if p.requires_grad),
            change,
        )
        for block, change in zip(blocks, changes, strict=True)
    ]
    return AttachReport(model, rows)
