"""Small whole numbers in as few bits as they need."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def bits_of(options: int) -> int:
    """Return how many bits tell so many options apart."""
    return (options - 1).bit_length()


def pack(numbers: Array, bits: int) -> Array:
    """Return whole numbers below 2^bits as bytes, ``ceil(n bits / 8)`` of them.

    A number's bits follow one another, the lowest first; so do the bits of a byte. The rest of the
    last byte is zero.
    """
    planes = numbers.reshape(-1, 1) >> np.arange(bits) & 1
    return np.packbits(planes.astype(np.uint8), bitorder="little")


def unpack(data: Array, bits: int, count: int) -> Array:
    """Return the first ``count`` numbers that `pack` made bytes of, int64."""
    planes = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits)
    return planes.astype(np.int64) @ (1 << np.arange(bits))
