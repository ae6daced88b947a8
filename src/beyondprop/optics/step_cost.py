"""What a training step would cost in which light, or electronics, projects the error."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from beyondprop.optics.cost import Cost, Electronics


@dataclass(frozen=True)
class StepCost:
    """Seconds and joules of a training step by direct feedback alignment.

    Args:
        forward: Seconds of the forward pass, electronic.
        nonlinearity: Seconds of activations and their derivatives, electronic.
        projection: Of the errors, by either way.
        gradients: Seconds of the weights' gradients, electronic.
        update: Seconds of the weights' update, electronic.
        joules: Of all that.
    """

    forward: float
    nonlinearity: float
    projection: Cost
    gradients: float
    update: float
    joules: float

    @property
    def seconds(self) -> float:
        """All parts, one after the other."""
        rest = self.forward + self.nonlinearity + self.gradients + self.update
        return rest + self.projection.seconds


def step_cost(
    projection: Cost, electronics: Electronics, rows: int, widths: Sequence[int]
) -> StepCost:
    """Return what a step of a fully connected network costs, given its errors' projection.

    One projection, to the widest hidden layer, teaches all layers (Launay et al. 2020).

    Args:
        projection: From `optical_cost` or `electronic_cost`.
        electronics: That do the rest.
        rows: Batch size.
        widths: Of the input and of every layer's output.
    """
    weights = sum(before * after for before, after in pairwise(widths))
    product = 2.0 * rows * weights / electronics.rate
    rate = electronics.simple_rate or electronics.rate
    nonlinearity = 8.0 * rows * sum(widths[1:-1]) / rate
    update = 2.0 * weights / rate
    electronic = 2 * product + nonlinearity + update
    return StepCost(
        forward=product,
        nonlinearity=nonlinearity,
        projection=projection,
        gradients=product,
        update=update,
        joules=electronic * electronics.power + projection.joules,
    )
