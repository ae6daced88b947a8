"""How often a tensor was written to."""

from torch import Tensor


def version(tensor: Tensor) -> int:
    """Return the number of in-place changes of a tensor, those of an optimizer's steps among them.

    PyTorch keeps the count to find what a backward pass can no longer use, and shows it under a
    private name alone.
    """
    return tensor._version
