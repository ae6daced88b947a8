"""Gaussian numbers of a counter-based generator, specified to the bit."""

import math
from typing import Any

import numpy as np


def gaussian(seed: int, stream: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the first ``count`` standard normal numbers of a stream.

    Box-Muller on the raw output of Philox4x64-10 (Salmon et al. 2011), a counter-based generator
    with a published specification: unlike a library's ``randn``, the numbers do not depend on the
    device or on the version of any library, and a shorter draw is the beginning of a longer one.
    """
    key = np.array([seed, stream], np.uint64)  # NumPy would round large numbers in a list
    raw = np.random.Philox(key=key).random_raw(2 * math.ceil(count / 2))
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
    angle = 2.0 * np.pi * uniform[1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[:count]
