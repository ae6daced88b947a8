"""Feedback alignment."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import OperationRule, ProjectedRule


@dataclass(frozen=True)
class FeedbackAlignment(OperationRule, ProjectedRule):
    """Feedback alignment: fixed random matrices carry the error back layer by layer.

    With ``a_l = x_{l-1} W_l`` and ``x_l = f(a_l)``, the error ``δ_l = (δ_{l+1} B_{l+1}ᵀ) ⊙ f'(a_l)``
    uses a random ``B`` where backprop uses ``W``; weight gradients are ``x_{l-1}ᵀ δ_l`` as ever
    (Lillicrap, Cownden, Tweed and Akerman 2016, equations 1-3).
    """

    name: ClassVar[str] = "fa"

    def feedback(self, weight: Tensor, stream: int) -> Tensor:
        """Return the layer's fixed random matrix, of the shape of ``weight``."""
        outputs, inputs = weight.shape[0], weight[0].numel()
        return self.projection.matrix(outputs, inputs, stream, weight).view(weight.shape)
