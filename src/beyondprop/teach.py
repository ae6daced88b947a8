"""How a teaching signal enters the graph of an ordinary forward pass.

Every taught block's output is *tapped*: the graph behind it ends in a `Tap` node, and the model
goes on with a detached tensor, so no error product between blocks is ever computed. `Output`
stands at the end; its backward hands the output error to the lesson, which all taps of that forward
pass share. Each tap then makes its own signal, in its own node. The engine runs nodes latest first,
so it makes block k's signal, goes back through block k, frees both, and only then turns to
block k - 1: no two signals need be alive at once.
"""

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .errors import UserError


class Lesson:
    """What one forward pass and its backward passes share.

    Attributes:
        targets: What the caller gave `Attachment.targets`, or None.
        errors: Gradient of the loss with respect to each taught output of the model; known once
            the backward pass has begun. None in place of an output that the loss does not use.
        tokens: One scalar a tap, which ties the tap to the output.
        handed: The detached tensors that the model went on with, while they live.
    """

    __slots__ = ("_sender", "_sent", "_turns", "errors", "handed", "targets", "tokens")

    def __init__(self, targets: Tensor | None = None) -> None:
        self.targets = targets
        self.errors: Sequence[Tensor | None] = ()
        self.tokens: list[Tensor] = []
        self.handed: list[weakref.ref[Tensor]] = []
        self._turns: dict[nn.Module, int] = {}
        self._sender: Sender | None = None
        self._sent: Sequence[Tensor | None] = ()

    def begin(self, errors: Sequence[Tensor | None]) -> None:
        """Take the errors of a backward pass that begins."""
        self.errors, self._sender = errors, None

    def messages(self, sender: "Sender") -> Sequence[Tensor | None]:
        """Return what a rule sends to all blocks in this backward pass, asking it once."""
        if self._sender is not sender:
            self._sender, self._sent = sender, sender.messages(self)
        return self._sent

    def turn(self, module: nn.Module) -> int:
        """Count the calls of a module in this forward pass; the first is 0."""
        turn = self._turns.get(module, 0)
        self._turns[module] = turn + 1
        return turn

    def tap(self, output: Tensor, teacher: "Teacher | None", stream: int) -> Tensor:
        """Cut the graph at a block's output; ``teacher``, if any, gives the signal there."""
        if not output.requires_grad:
            return output
        if teacher is not None:
            self.tokens.append(Tap.apply(output, self, teacher, stream))
        handed = output.detach()
        self.handed.append(weakref.ref(handed))
        return handed


class Sender(Protocol):
    """Sends the same messages to every block."""

    def messages(self, lesson: Lesson) -> Sequence[Tensor | None]:
        """Return one message for each of the model's outputs, None where nothing is sent."""


class Teacher(Protocol):
    """Gives a block its signal in place of the gradient that backprop would bring."""

    def signal(self, lesson: Lesson, shape: torch.Size, stream: int) -> Tensor:
        """Return the signal at a block's output of this shape."""

    def signals(self, lesson: Lesson, width: int, streams: tuple[int, ...]) -> Tensor:
        """Return the signals at several blocks of one width side by side, (rows, all widths)."""


class Tap(torch.autograd.Function):
    """The end of a block's graph: its backward asks the teacher for the signal."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, lesson: Lesson, teacher: Teacher, stream: int) -> Tensor:
        """Return a token, a scalar that is never read."""
        ctx.lesson, ctx.teacher, ctx.stream = lesson, teacher, stream
        ctx.like = output.shape, output.dtype, output.device
        ctx.set_materialize_grads(False)
        return output.new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: None) -> Any:
        """Return the teacher's signal."""
        shape, dtype, device = ctx.like
        signal = ctx.teacher.signal(ctx.lesson, shape, ctx.stream)
        return signal.to(device=device, dtype=dtype), None, None, None


class Output(torch.autograd.Function):
    """The model's outputs: the exact error goes on into the last block and to the lesson."""

    @staticmethod
    def forward(ctx: Any, lesson: Lesson, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the first ``count`` tensors, the outputs; the others are the taps' tokens."""
        ctx.lesson, ctx.tokens = lesson, len(tensors) - count
        ctx.set_materialize_grads(False)
        return tuple(output.detach() for output in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> Any:
        """Keep the errors where the taps find them."""
        ctx.lesson.begin(errors)
        return None, None, *errors, *(None,) * ctx.tokens


def rows_and_features(error: torch.Size, tap: torch.Size) -> tuple[int, int, int]:
    """Say how an error is laid out against a block's output.

    One row a sample, and one row a token where both are ``(batch, tokens, features)`` with the same
    batch and tokens; everything else about a row is flattened into its features.

    Returns:
        Rows, features of the error, features of the block's output.

    Raises:
        UserError: The two do not have the same samples.
    """
    if len(error) == len(tap) == 2 and error[0] == tap[0]:
        return error[0], error[1], tap[1]
    rows = 2 if len(error) == len(tap) == 3 and error[:2] == tap[:2] else 1
    if len(error) == len(tap) == 1:
        rows = 0
    elif min(len(error), len(tap)) <= 1 or error[:rows] != tap[:rows]:
        raise UserError(
            f"an output of shape {tuple(error)} cannot teach a block whose output has shape "
            f"{tuple(tap)}: both must begin with the same batch dimension (attach to the module "
            "that returns per-sample outputs, not the loss)"
        )
    return error[:rows].numel(), error[rows:].numel(), tap[rows:].numel()
