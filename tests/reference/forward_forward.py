"""Forward-forward (Hinton 2022), one sample and one block at a time."""

import math

import numpy as np

from .blocks import run


def labelled(x, label, classes, low, high):
    """Return a sample with its class in its first numbers, one of them for each class."""
    out = x.reshape(-1).copy()
    for k in range(classes):
        out[k] = high if k == label else low
    return out.reshape(x.shape)


def of_unit_size(x):
    """Return activities scaled to a mean square of 1: their direction alone is handed on."""
    values = x.reshape(-1)
    return x / math.sqrt(sum(v**2 for v in values) / len(values) + 1e-8)


def states(blocks, x):
    """Return every block's activities for a sample that has a label in it."""
    found = []
    for block in blocks:
        x = run(block, of_unit_size(x))
        found.append(x)
    return found


def loss(block, samples, threshold, temperature):
    """Return the loss of one block.

    ``samples`` are ``(input of the block, whether its label is right)``. The probability that a
    label is right is ``σ((Σ y² - θ) / T)`` (equation 1), and θ is a threshold for each unit.
    """
    right, wrong = [], []
    for x, is_right in samples:
        activities = run(block, of_unit_size(x)).reshape(-1)
        excess = sum(v**2 for v in activities) - threshold * len(activities)
        probability = 1 / (1 + math.exp(-excess / temperature))
        (right if is_right else wrong).append(
            -math.log(probability if is_right else 1 - probability)
        )
    return sum(right) / len(right) + sum(wrong) / len(wrong)


def scores(blocks, x, labels, classes, low, high, first):
    """Return for each label the sum over blocks of the mean square activity."""
    found = []
    for label in labels:
        activities = states(blocks, labelled(x, label, classes, low, high))[first:]
        found.append(sum(sum(v**2 for v in a.reshape(-1)) / a.size for a in activities))
    return np.array(found)


def predicted(blocks, x, classes, low, high, first):
    """Return the class whose label makes the network most active."""
    return int(np.argmax(scores(blocks, x, range(classes), classes, low, high, first)))
