"""What operations with a backward of their own have in common."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.rules import OperationRule


@dataclass(eq=False)
class Feedback:
    """What stands in for one weight of a layer in the backward pass.

    Attributes:
        attachment: Where the layer's rule was attached.
        rule: What gives the stand-in.
        module: The layer.
        name: Name of the weight in it.
        stream: The weight's own random stream.
        inputs: How many inputs one output of the layer sums over.
        state: What the rule keeps for this weight from pass to pass.
    """

    attachment: "Attachment"
    rule: "OperationRule"
    module: nn.Module
    name: str
    stream: int
    inputs: int
    state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def needed(self) -> bool:
        """Whether this forward pass may be followed by a backward pass under the rule."""
        return torch.is_grad_enabled() and not self.attachment.exact

    def needed_for(self, x: Tensor) -> bool:
        """Whether a layer with this input needs the stand-in.

        A first layer needs no error product, so no matrix is drawn for it. But feedback that learns
        by gradients must learn from all uses of a layer, as its weight does.
        """
        return x.requires_grad or any(isinstance(t, nn.Parameter) for t in self.state.values())

    @property
    def passes(self) -> int:
        """How many taught passes there were, this one included."""
        return self.attachment.memory.passes

    def of(self, weight: Tensor) -> Tensor:
        """Return the stand-in for ``weight``, of the same shape, device and dtype."""
        return self.rule.feedback(weight.detach(), self)

    def owner(self) -> Tensor:
        """Return the weight."""
        return getattr(self.module, self.name)  # type: ignore[no-any-return]

    def owners(self) -> list[Tensor]:
        """Return the weight, as what learns beside the feedback."""
        return [self.owner()]


Feedbacks = dict[str, Feedback]
"""The feedback of a swapped layer, by the name of the weight it stands in for."""


def autocast(*tensors: Tensor | None) -> list[Any]:
    """Cast tensors as `torch.autocast` would for a matrix product; gradients cast back.

    Like there, double precision stays what it is.
    """
    device = next(t.device.type for t in tensors if t is not None)
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [t if t is None or t.dtype is torch.float64 else t.to(dtype) for t in tensors]


def needed(module: Any) -> bool:
    """Whether a swapped layer is to go by its rule in this forward pass."""
    feedbacks: Feedbacks = module._feedback
    return next(iter(feedbacks.values())).needed
