"""A part of a chain that learns on its own: a pipeline runs one on each process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from beyondprop.core import Block, End, ForwardPass, Schedule
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.detach import detach
from beyondprop.errors import UserError

Loss = Callable[[Any, Any], Tensor]
"""Maps (outputs, targets) to the mean loss, a scalar."""


class Collect(Schedule):
    """Collects the ends of the blocks of one micro-batch, for later learning."""

    def __init__(self) -> None:
        self.ends: list[End] = []

    def take(self, ends: Sequence[End]) -> None:
        """Store the ends of a block."""
        self.ends += ends


@dataclass(eq=False)
class Pass:
    """A micro-batch on one stage.

    Attributes:
        run: The state that its forward and backward pass share.
        share: Its share of the batch's samples.
        output: The last block's output, detached if its graph ends there.
        ends: The ends of the graphs of taught blocks.
        error: On the last stage, the gradient of the batch's mean loss at the output.
    """

    run: ForwardPass
    share: float
    output: Tensor
    ends: list[End] = field(default_factory=list)
    error: Tensor | None = None


class Stage:
    """Consecutive blocks of a chain, which end in a cut or at the model's output.

    This class implements no rule: signals and losses come from the attachment's ends.

    Args:
        handle: The attachment to the complete model.
        blocks: The blocks of the stage, in the order they run.
    """

    def __init__(self, handle: Attachment, blocks: Sequence[Block]) -> None:
        self.handle = handle
        self.blocks = blocks

    def forward(
        self, x: Tensor, targets: Tensor, inputs: Tensor | None, share: float = 1.0
    ) -> Pass:
        """Run the blocks on ``(batch, ...)``.

        Args:
            x: The input of the first block.
            targets: The targets of the micro-batch.
            inputs: The input of the model's first block, for rules that need it.
            share: See `Pass`.
        """
        passes = self.handle.passes
        with self.handle.targets(targets):
            open_pass = passes.new_pass(inputs)
        if open_pass is None:
            raise UserError("a pipeline trains only by its rule: leave bp.exact_gradients() first")
        open_pass.schedule = collect = Collect()
        passes.current.enter(open_pass)
        try:
            for block in self.blocks:
                taught = passes.taught.get(block)
                if taught is not None and taught.reads_input:
                    open_pass.inputs[block] = x.detach()
                open_pass.run.apart = True  # the graph is ended here, not by hooks
                for _, module in block.modules:
                    x = module(x)
                x = _tensor(x, block.name)
                if taught is not None:
                    x = detach(x, taught, open_pass)
        finally:
            passes.current.leave()
        return Pass(open_pass.run, share, _tensor(x, self.blocks[-1].name), collect.ends)

    def finish(self, passed: Pass, targets: Tensor, loss: Loss) -> Tensor:
        """Compute the output error; return this micro-batch's part of the mean loss."""
        output = passed.output.detach().requires_grad_()
        value = loss(output, targets) * passed.share
        (passed.error,) = torch.autograd.grad(value, output)
        return value.detach()

    def learn(self, passed: Pass, error: Tensor | None = None) -> None:
        """Add the gradients of the blocks, last block first.

        Args:
            passed: The pass, from `forward`.
            error: The error at the model's output, if a rule of these blocks waits for it.
        """
        if passed.error is not None and passed.output.requires_grad:
            passed.output.backward(passed.error)
        if error is not None:
            passed.run.errors = (error,)
        # Signals that scale with the loss come from an error that is already weighted.
        passed.run.scale = torch.tensor(passed.share)
        for end in reversed(passed.ends):
            end.root.backward(end.gradient())


def _tensor(x: Any, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise UserError(
            f"block '{name}' returns a {type(x).__name__}, but stages send only tensors: use a "
            "block that returns one"
        )
    return x
