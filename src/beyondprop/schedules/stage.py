"""A part of a chain that learns by itself: what a pipeline runs on one process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from beyondprop.errors import UserError

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.engine.blocks import Block
    from beyondprop.engine.detach import Cut, Lesson
    from beyondprop.rules import Rule

Loss = Callable[[Any, Any], Tensor]
"""(outputs, targets) to the mean loss, a scalar."""


@dataclass(frozen=True, eq=False)
class End:
    """The end of a block's graph: its output, or the loss of its own."""

    root: Tensor
    rule: "Rule"
    cut: "Cut"


@dataclass(eq=False)
class Pass:
    """A micro-batch on one stage.

    Attributes:
        lesson: What its forward and backward pass share.
        share: Its part of the batch: the samples of this one over those of all.
        output: What the last block returned, detached where it is cut.
        ends: Where the graphs of the blocks end that are taught.
        error: On the last stage, the gradient of the mean loss of the batch at the output.
    """

    lesson: "Lesson"
    share: float
    output: Tensor
    ends: list[End]
    error: Tensor | None = None


class Stage:
    """Consecutive blocks of a chain, which end in a cut or at the model's output.

    Nothing of a rule is done here: signals and losses are those of the attachment's own cuts.

    Args:
        handle: What is attached to the whole model.
        blocks: Those of the stage, in the order they run.
    """

    def __init__(self, handle: "Attachment", blocks: "Sequence[Block]") -> None:
        self.handle = handle
        self.blocks = blocks

    def forward(
        self, x: Tensor, targets: Tensor, inputs: Tensor | None, share: float = 1.0
    ) -> Pass:
        """Run the blocks on ``(batch, ...)``.

        Args:
            x: What the first block is given.
            targets: The micro-batch's.
            inputs: What the model's first block was given, for rules that ask for it.
            share: See `Pass`.
        """
        with self.handle.targets(targets):
            lesson = self.handle.new_lesson()
        if lesson is None:
            raise UserError("a pipeline trains by its rule alone: leave exact_gradients() first")
        lesson.inputs, lesson.classes = inputs, self.handle.classes
        ends: list[End] = []
        for block in self.blocks:
            with self.handle.aside():  # the cuts are made here
                for _, module in block.modules:
                    x = module(x)
            cut = self.handle.cut_of(block)
            if cut is not None:
                x = _cut(_tensor(x, block.name), lesson, block.rule, cut, ends)
        return Pass(lesson, share, _tensor(x, self.blocks[-1].name), ends)

    def finish(self, passed: Pass, targets: Tensor, loss: Loss) -> Tensor:
        """Take the loss at the model's output; return this micro-batch's part of the mean."""
        output = passed.output.detach().requires_grad_()
        value = loss(output, targets) * passed.share
        (passed.error,) = torch.autograd.grad(value, output)
        return value.detach()

    def learn(self, passed: Pass, error: Tensor | None = None) -> None:
        """Add up the gradients of the blocks, the last one's first.

        Args:
            passed: From `forward`.
            error: That at the model's output, where a rule of these blocks waits for it.
        """
        if passed.error is not None and passed.output.requires_grad:
            passed.output.backward(passed.error)
        if error is not None:
            passed.lesson.begin((error,))
        for end in reversed(passed.ends):
            end.root.backward(_gradient(end, passed, error))


def _cut(x: Tensor, lesson: "Lesson", rule: "Rule", cut: "Cut", ends: list[End]) -> Tensor:
    """Return a block's output, detached as in `Lesson.tap`; keep what teaches the block."""
    if cut.learner is not None and x.requires_grad:
        ends.append(End(cut.learner.loss(lesson, x), rule, cut))
        return x.detach().clone()  # the next block may work in place on what it is handed
    if cut.teacher is not None and x.requires_grad:
        ends.append(End(x, rule, cut))
    return x.detach()


def _gradient(end: End, passed: Pass, error: Tensor | None) -> Tensor:
    """Return the gradient at the end of a block, weighted as in the mean over the batch."""
    root, cut = end.root, end.cut
    if cut.learner is not None:
        return torch.full_like(root, passed.share)
    if error is None:
        passed.lesson.begin((passed.lesson.error_like(root),))
    signal = cut.signal(passed.lesson, (root.shape, root.dtype, root.device))
    # What grows with the loss has come by an error that is weighted already.
    return signal if end.rule.scales else signal * passed.share


def _tensor(x: Any, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise UserError(
            f"block '{name}' returns a {type(x).__name__}, and stages send tensors alone: let a "
            "block be a module that returns one"
        )
    return x
