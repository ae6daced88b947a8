"""Sign-symmetry, in the three forms of the literature."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from beyondprop.core import AtWeight, LayerRule, Traits
from beyondprop.projections import Dense, Projection, Redrawn
from beyondprop.random.streams import stream_of
from beyondprop.rules.layerwise.random import random_like


@dataclass(frozen=True)
class SignSymmetry(LayerRule):
    """Sign-symmetry, uniform (uSF): the error goes back through the signs of the weights alone.

    ``δ_l = (δ_{l+1} V_{l+1}) ⊙ f'(a_l)`` with ``V = n^{-1/2} sign(W)``, where ``n`` is the number
    of inputs that an output sums over (Liao, Leibo and Poggio 2016, section "uniform
    sign-concordant feedbacks"; named uSF by Moskovitz, Litwin-Kumar and Abbott 2018). The factor
    keeps an error's norm.
    """

    name: ClassVar[str] = "usf"
    of_weight_alone: ClassVar[bool] = True

    def feedback(self, weight: Tensor, at: AtWeight) -> Tensor:
        """Return the weight's signs times one magnitude; a zero weight gives zero."""
        return weight.sign().mul_(at.inputs**-0.5)


@dataclass(frozen=True)
class FixedRandomSignSymmetry(LayerRule):
    """Sign-symmetry, fixed random magnitudes (frSF): the signs of W, the magnitudes of a fixed B.

    ``V = |B| ⊙ sign(W)`` with ``B`` as in feedback alignment (Liao et al. 2016; Moskovitz et al.
    2018).
    """

    name: ClassVar[str] = "frsf"
    of_weight_alone: ClassVar[bool] = True
    projection: Projection = field(default_factory=Dense)

    def feedback(self, weight: Tensor, at: AtWeight) -> Tensor:
        """Return the weight's signs with the magnitudes of the layer's random matrix."""
        return random_like(self.projection, weight, at, at.stream).abs().mul_(weight.sign())


@dataclass(frozen=True)
class BatchRandomSignSymmetry(LayerRule):
    """Sign-symmetry, batch-wise random magnitudes (brSF): as frSF, with new magnitudes every batch.

    ``V = |B_t| ⊙ sign(W)``, ``B_t`` redrawn for every forward pass in training mode (Liao et al.
    2016, "batch-wise random magnitudes"; Moskovitz et al. 2018).
    """

    name: ClassVar[str] = "brsf"
    traits: ClassVar[Traits] = LayerRule.traits.but(counts_passes=True)
    projection: Projection = field(default_factory=Redrawn)

    def feedback(self, weight: Tensor, at: AtWeight) -> Tensor:
        """Return the weight's signs with the random magnitudes of this pass."""
        stream = stream_of(f"{at.stream}, pass {at.mode.number}")
        return random_like(self.projection, weight, at, stream).abs().mul_(weight.sign())


REGISTERED = (SignSymmetry, BatchRandomSignSymmetry, FixedRandomSignSymmetry)
