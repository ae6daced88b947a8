"""Feedback alignment."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import OperationRule, ProjectedRule


@dataclass(frozen=True)
class FeedbackAlignment(OperationRule, ProjectedRule):
    """Feedback alignment: fixed random matrices carry the error back layer by layer.

    With ``a_l = x_{l-1} W_lᵀ`` and ``x_l = f(a_l)``, ``δ_l = (δ_{l+1} B_{l+1}) ⊙ f'(a_l)`` uses a
    random ``B`` where backprop uses ``W``; weight gradients are ``δ_lᵀ x_{l-1}`` as ever
    (Lillicrap, Cownden, Tweed and Akerman 2016).
    """

    name: ClassVar[str] = "fa"

    def feedback(self, weight: Tensor, stream: int) -> Tensor:
        """Return the layer's fixed random matrix, of the shape of ``weight``."""
        outputs, inputs = weight.shape[0], weight[0].numel()
        stream = self.projection.stream(stream)
        return self.projection.matrix(outputs, inputs, stream, weight).view(weight.shape)
