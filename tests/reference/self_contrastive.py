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


def released_goodness(activities):
    """Return the mean over channels at each position, as the released code has it."""
    maps = activities.reshape(len(activities), -1)
    return [sum(max(v, 0.0) ** 2 for v in maps[:, i]) / len(maps) for i in range(maps.shape[1])]


def side_by_side(block, one, other):
    """Return what a first block makes of two inputs: its layer, bias and all, sees each."""
    return run(block[1:], run(block[:1], one) + run(block[:1], other))


def released_loss(high, low, thresholds, calming):
    """Return the loss of the released code from what a block made of like and unlike pairs.

    Softplus at every position, then means over positions and pairs; a threshold each for like and
    unlike pairs; and the activity's cost is the length of the vector of the positions' goodness.
    """
    told = 0.0
    for outputs, threshold, sign in ((high, thresholds[0], -1), (low, thresholds[1], 1)):
        for h in outputs:
            found = released_goodness(h)
            soft = [math.log(1 + math.exp(sign * (g - threshold))) for g in found]
            told += sum(soft) / len(soft) / len(outputs)
    lengths = [math.sqrt(sum(g**2 for g in released_goodness(h))) for h in high]
    return told + calming * sum(lengths) / len(lengths)
