"""Layers and parameters that keep an exact backward pass, as no weight matrix carries the error."""

from torch import Tensor, nn

from beyondprop.shapes import NORMS

EXACT = (*NORMS, nn.PReLU, nn.Embedding, nn.EmbeddingBag)
"""Layers that carry no error through a weight matrix."""


def is_no_matrix(parameter: Tensor) -> bool:
    """Return whether the shape of a user module's parameter shows that it is added or scales.

    This holds for vectors (norms, gains, biases), and for parameters with more than two axes whose
    first axis is 1, such as class tokens (1, 1, d) and position embeddings (1, n, d), or of which
    at most one axis is larger than 1, such as gains of channels (d, 1, 1). Any other parameter may
    be the weight of a product.
    """
    if parameter.dim() <= 1:
        return True
    larger = sum(size > 1 for size in parameter.shape)
    return parameter.dim() > 2 and (parameter.shape[0] == 1 or larger <= 1)
