"""The forward hook that cuts the graph at a block's output."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from beyondprop.engine.detach import Cut
from beyondprop.errors import UserError

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment


class TapHook:
    """The forward hook on the module whose output is a block's.

    Blocks of a chain may share that module (one activation used again and again): then its n-th
    call in a forward pass is the n-th block's turn.
    """

    def __init__(self, attachment: "Attachment") -> None:
        self.attachment = attachment
        self.turns: list[Cut | None] = []

    def __call__(self, module: nn.Module, _inputs: Any, outputs: Any) -> Any:
        """Cut the graph at the block's output."""
        if self.attachment.is_aside:
            return outputs
        lesson = self.attachment.lesson
        if lesson is None:
            if torch.is_grad_enabled() and not self.attachment.exact:
                raise UserError(
                    "a block of an attached model is run by itself, where its rule cannot teach "
                    "it: run the whole model, or use torch.no_grad() or exact_gradients(model)"
                )
            return outputs
        cut = self.turns[lesson.turn(module) % len(self.turns)]
        return outputs if cut is None else lesson.tap(outputs, cut)
