"""Random features by light, a number at a time, from the formulas.

Kernel: Saade et al. 2016; Ohana et al. 2020. Rows are lists, matrices arrays ``(in, out)``.
"""

import math


def mirrors(row, thresholds):
    """Return which mirrors are on."""
    size = math.sqrt(sum(v * v for v in row) / len(row))
    return [1.0 if v > t * size else 0.0 for t in thresholds for v in row]


def features(shown, matrix):
    """Return what an ideal device makes of mirrors, matrix entries being of variance 1."""
    on = sum(shown)
    if not on:
        return [0.0] * matrix.shape[1]
    fields = [sum(v * matrix[i, j] for i, v in enumerate(shown)) for j in range(matrix.shape[1])]
    return [abs(y) ** 2 / on - 1 for y in fields]


def intensity_kernel(a, b):
    """Return the mean of |r·a|² |r·b|² over circular complex Gaussian r of variance 1."""
    dot = sum(v * w for v, w in zip(a, b, strict=True))
    return sum(v * v for v in a) * sum(w * w for w in b) + dot**2


def kernel(a, b):
    """Return the mean of a product of features: rows of unit length, without the constant part."""
    unit_a, unit_b = ([v / math.sqrt(sum(w * w for w in row)) for v in row] for row in (a, b))
    return intensity_kernel(unit_a, unit_b) - 1
