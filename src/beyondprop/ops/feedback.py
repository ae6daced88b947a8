"""What operations with a backward of their own have in common."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..attachment import Attachment
    from ..rules import OperationRule


@dataclass(frozen=True, eq=False)
class Feedback:
    """Where a swapped layer finds what stands in for its weight in the backward pass."""

    attachment: "Attachment"
    rule: "OperationRule"
    stream: int

    @property
    def needed(self) -> bool:
        """Whether this forward pass may be followed by a backward pass under the rule."""
        return torch.is_grad_enabled() and not self.attachment.exact

    def of(self, weight: Tensor) -> Tensor:
        """Return the stand-in for ``weight``, of the same shape, device and dtype."""
        return self.rule.feedback(weight.detach(), self.stream)


def autocast(*tensors: Tensor | None) -> list[Tensor | None]:
    """Cast floating tensors as `torch.autocast` would for a matrix product; gradients cast back."""
    device = next(t.device.type for t in tensors if t is not None)
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [t if t is None else t.to(dtype) for t in tensors]
