"""Random matrices shaped like the weights of layers."""

from torch import Tensor

from beyondprop._torch.spread import spread_like
from beyondprop.core import AtWeight
from beyondprop.projections import Projection


def random_like(projection: Projection, weight: Tensor, at: AtWeight, stream: int) -> Tensor:
    """Return a random matrix like ``weight``, sharded over processes like it; see `drawn`."""
    return spread_like(drawn(projection, weight, at, stream), weight)


def drawn(projection: Projection, weight: Tensor, at: AtWeight, stream: int) -> Tensor:
    """Return a random matrix with the shape of ``weight`` that keeps an error's norm.

    Args:
        projection: Draws it.
        weight: ``(out, in, ...)``.
        at: The context of the weight.
        stream: The weight's stream, which the projection may replace by a shared one.
    """
    rows = weight.numel() // at.inputs
    stream = projection.stream(stream)
    return projection.matrix(rows, at.inputs, stream, weight).view(weight.shape)
