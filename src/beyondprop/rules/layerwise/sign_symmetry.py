"""Sign-symmetry, in its three published forms."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from beyondprop.projections import Projection, Redrawn
from beyondprop.random.streams import stream_of
from beyondprop.rules.base import OperationRule
from beyondprop.rules.layerwise.feedback_alignment import FeedbackAlignment

if TYPE_CHECKING:
    from beyondprop.layers.feedback import Feedback


@dataclass(frozen=True)
class SignSymmetry(OperationRule):
    """Sign-symmetry, uniform (uSF): the error goes back through the signs of the weights alone.

    ``δ_l = (δ_{l+1} V_{l+1}) ⊙ f'(a_l)`` with ``V = n^{-1/2} sign(W)``, ``n`` the inputs that an
    output sums over (Liao, Leibo and Poggio 2016, section "uniform sign-concordant feedbacks";
    named uSF by Moskovitz, Litwin-Kumar and Abbott 2018). The factor keeps an error's norm.
    """

    name: ClassVar[str] = "usf"
    late: ClassVar[bool] = True

    def feedback(self, weight: Tensor, layer: "Feedback") -> Tensor:
        """Return the weight's signs, all of one magnitude; a zero weight sends nothing back."""
        return weight.sign().mul_(layer.inputs**-0.5)


@dataclass(frozen=True)
class FixedRandomSignSymmetry(FeedbackAlignment):
    """Sign-symmetry, fixed random magnitudes (frSF): the signs of W, the magnitudes of a fixed B.

    ``V = |B| ⊙ sign(W)`` with ``B`` as in feedback alignment (Liao et al. 2016; Moskovitz et al.
    2018).
    """

    name: ClassVar[str] = "frsf"
    late: ClassVar[bool] = True

    def feedback(self, weight: Tensor, layer: "Feedback") -> Tensor:
        """Return the weight's signs with the magnitudes of the layer's random matrix."""
        return self.random(weight, layer, layer.stream).abs().mul_(weight.sign())


@dataclass(frozen=True)
class BatchRandomSignSymmetry(FixedRandomSignSymmetry):
    """Sign-symmetry, batch-wise random magnitudes (brSF): as frSF, with new magnitudes every batch.

    ``V = |B_t| ⊙ sign(W)``, ``B_t`` drawn anew for every forward pass in training mode (Liao et
    al. 2016, "batch-wise random magnitudes"; Moskovitz et al. 2018).
    """

    name: ClassVar[str] = "brsf"
    paced: ClassVar[bool] = True
    late: ClassVar[bool] = False
    projection: Projection = field(default_factory=Redrawn)

    def feedback(self, weight: Tensor, layer: "Feedback") -> Tensor:
        """Return the weight's signs with magnitudes that belong to this pass."""
        stream = stream_of(f"{layer.stream}, pass {layer.passes}")
        return self.random(weight, layer, stream).abs().mul_(weight.sign())
