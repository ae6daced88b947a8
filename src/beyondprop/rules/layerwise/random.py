"""Random matrices shaped like the weights of layers."""

from torch import Tensor

from beyondprop._torch.spread import spread_like
from beyondprop.core import AtWeight
from beyondprop.projections import Projection


def random_like(projection: Projection, weight: Tensor, at: AtWeight, stream: int) -> Tensor:
    """Return a random matrix like ``weight``, spread over processes as it is; see `drawn`."""
    return spread_like(drawn(projection, weight, at, stream), weight)


def drawn(projection: Projection, weight: Tensor, at: AtWeight, stream: int) -> Tensor:
    """Return a random matrix of the shape of ``weight`` that keeps an error's norm.

    Args:
        projection: Draws it.
        weight: ``(out, in, ...)``.
        at: The weight's place.
        stream: The projection's stream, before blocks share one.
    """
    rows = weight.numel() // at.inputs
    stream = projection.stream(stream)
    return projection.matrix(rows, at.inputs, stream, weight).view(weight.shape)
