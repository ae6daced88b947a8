"""The autograd functions by which a teaching signal enters the graph (see `teach`)."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from beyondprop.engine.detach import Cut, Lesson, Like
    from beyondprop.rules.model.base import Teacher


class Tap(torch.autograd.Function):
    """The end of a large block's graph: its backward asks the teacher for the signal."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, lesson: "Lesson", cut: "Cut", like: "Like") -> Tensor:
        """Return a token, a scalar that is never read."""
        ctx.lesson, ctx.cut, ctx.like = lesson, cut, like
        ctx.set_materialize_grads(False)
        return output.new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: None) -> Any:
        """Return the teacher's signal."""
        return ctx.cut.signal(ctx.lesson, ctx.like), None, None, None


class ReadTap(torch.autograd.Function):
    """The end of a block whose teacher reads its output, and may learn its feedback."""

    @staticmethod
    def forward(
        ctx: Any,
        output: Tensor,
        learned: Tensor | None,  # noqa: ARG004  an input, so that its gradient can be returned
        lesson: "Lesson",
        cut: "Cut",
    ) -> Tensor:
        """Return a token, a scalar that is never read."""
        ctx.save_for_backward(output)
        ctx.lesson, ctx.cut = lesson, cut
        ctx.set_materialize_grads(False)
        return output.new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: None) -> Any:
        """Return the teacher's signal and the gradient of its feedback."""
        (output,) = ctx.saved_tensors
        signal, gradient = ctx.cut.reader.read(ctx.lesson, ctx.cut, output)
        return signal, gradient, None, None


class LossTap(torch.autograd.Function):
    """The end of a block with a loss of its own: whatever the model's loss, its gradient is 1."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        """Return a token, a scalar that is never read."""
        ctx.like = loss.dtype, loss.device
        ctx.set_materialize_grads(False)
        return loss.new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: None) -> Any:
        """Return 1."""
        dtype, device = ctx.like
        return torch.ones((), dtype=dtype, device=device)


class Output(torch.autograd.Function):
    """The model's outputs: the exact error goes on into the last block and to the lesson."""

    @staticmethod
    def forward(ctx: Any, lesson: "Lesson", count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the first ``count`` tensors, the outputs; the others are the taps."""
        ctx.lesson, ctx.small = lesson, lesson.small
        ctx.set_materialize_grads(False)
        return tuple(output.detach() for output in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> Any:
        """Keep the errors where the taps find them, and return the small blocks' signals."""
        ctx.lesson.begin(errors)
        made: dict[Any, Tensor] = {}  # blocks of one shape that share a map share a signal
        signals: list[Tensor | None] = []
        for small in ctx.small:
            if small is None:
                signals.append(None)
                continue
            cut, like = small
            key = cut.key, like
            if key not in made:
                made[key] = cut.signal(ctx.lesson, like)
            signals.append(made[key])
        return None, None, *errors, *signals


class Whole(torch.autograd.Function):
    """The outputs of a model that ran without a graph: its teacher gives all gradients at once."""

    @staticmethod
    def forward(ctx: Any, teacher: "Teacher", count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the first ``count`` tensors, the outputs; the others are kept for the teacher."""
        ctx.teacher, ctx.count = teacher, count
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[count:])
        return tuple(output.detach() for output in tensors[:count])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *errors: Tensor | None) -> Any:
        """Return the gradients of the tensors that were kept."""
        needed = ctx.needs_input_grad[2 + ctx.count :]
        found = ctx.teacher.gradients(errors, ctx.saved_tensors, needed)
        return None, None, *[None] * ctx.count, *found
