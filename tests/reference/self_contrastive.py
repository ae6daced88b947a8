"""Self-contrastive forward-forward (Chen et al. 2025, equations 3 to 5), pair by pair.

Two inputs side by side under one weight, ``W (x_k | x_n)``, are their sum: ``W x_k + W x_n``.
"""

import math

from .blocks import run


def pairs(inputs):
    """Return the like pairs, every input with itself, and the unlike ones, with the next."""
    following = [*inputs[1:], inputs[0]]
    like = [x + x for x in inputs]
    return like, [x + other for x, other in zip(inputs, following, strict=True)]


def goodness(activities):
    """Return the mean square of the activities that are positive; others count as 0."""
    values = activities.reshape(-1)
    return sum(max(v, 0.0) ** 2 for v in values) / len(values)


def loss(block, like, unlike, threshold, calming):
    """Return the loss of a block from its pairs of inputs."""
    high = [goodness(run(block, x)) for x in like]
    low = [goodness(run(block, x)) for x in unlike]
    told = sum(math.log(1 + math.exp(threshold - g)) for g in high) / len(high)
    told += sum(math.log(1 + math.exp(g - threshold)) for g in low) / len(low)
    return told + calming * sum(high) / len(high)
