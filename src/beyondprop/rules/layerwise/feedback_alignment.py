"""Feedback alignment."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from beyondprop.core import AtWeight, LayerRule
from beyondprop.projections import Dense, Projection
from beyondprop.rules.layerwise.random import random_like


@dataclass(frozen=True)
class FeedbackAlignment(LayerRule):
    """Feedback alignment: fixed random matrices carry the error back layer by layer.

    With ``a_l = x_{l-1} W_lᵀ`` and ``x_l = f(a_l)``, ``δ_l = (δ_{l+1} B_{l+1}) ⊙ f'(a_l)`` uses a
    random ``B`` where backprop uses ``W``; weight gradients are ``δ_lᵀ x_{l-1}`` as in backprop
    (Lillicrap, Cownden, Tweed and Akerman 2016).
    """

    name: ClassVar[str] = "fa"
    projection: Projection = field(default_factory=Dense)

    def feedback(self, weight: Tensor, at: AtWeight) -> Tensor:
        """Return the layer's fixed random matrix, with the shape of ``weight``."""
        return random_like(self.projection, weight, at, at.stream)


REGISTERED = (FeedbackAlignment,)
