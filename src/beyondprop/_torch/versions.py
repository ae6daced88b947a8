"""The version counter of tensors."""

from torch import Tensor


def version(tensor: Tensor) -> int:
    """Return the number of in-place changes of a tensor, including those by an optimizer.

    PyTorch counts them to detect tensors that a backward pass can no longer use; the count has only
    a private name.
    """
    return tensor._version
