"""What carries no error through a weight matrix, so that its backward pass stays exact."""

from torch import Tensor, nn

from beyondprop.shapes import NORMS

EXACT = (*NORMS, nn.PReLU, nn.Embedding, nn.EmbeddingBag)
"""Layers that carry no error through a weight matrix."""


def is_no_matrix(parameter: Tensor) -> bool:
    """Return whether a parameter of a module of one's own is added or scales, by its shape.

    So are vectors (norms, gains, biases), and with more than two axes those whose first axis is 1,
    as class tokens (1, 1, d) and position embeddings (1, n, d) have it, or of which but one is
    larger than 1, as gains of channels (d, 1, 1). Any other may be the weight of a product.
    """
    if parameter.dim() <= 1:
        return True
    larger = sum(size > 1 for size in parameter.shape)
    return parameter.dim() > 2 and (parameter.shape[0] == 1 or larger <= 1)
