"""Feedback alignment."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from beyondprop.rules.base import OperationRule, ProjectedRule

if TYPE_CHECKING:
    from beyondprop.layers.feedback import Feedback


@dataclass(frozen=True)
class FeedbackAlignment(OperationRule, ProjectedRule):
    """Feedback alignment: fixed random matrices carry the error back layer by layer.

    With ``a_l = x_{l-1} W_lᵀ`` and ``x_l = f(a_l)``, ``δ_l = (δ_{l+1} B_{l+1}) ⊙ f'(a_l)`` uses a
    random ``B`` where backprop uses ``W``; weight gradients are ``δ_lᵀ x_{l-1}`` as ever
    (Lillicrap, Cownden, Tweed and Akerman 2016).
    """

    name: ClassVar[str] = "fa"

    def feedback(self, weight: Tensor, layer: "Feedback") -> Tensor:
        """Return the layer's fixed random matrix, of the shape of ``weight``."""
        return self.random(weight, layer, layer.stream)

    def random(self, weight: Tensor, layer: "Feedback", stream: int) -> Tensor:
        """Return a random matrix of the shape of ``weight`` that keeps an error's norm."""
        rows = weight.numel() // layer.inputs
        stream = self.projection.stream(stream)
        return self.projection.matrix(rows, layer.inputs, stream, weight).view(weight.shape)
