"""Blocks of layers, one sample and one position at a time, and slopes by central differences.

A block is a list of layers ``(kind, weight, bias)``; an activation has neither of the two.
"""

import itertools
import math

import numpy as np

STEP = 1e-6


def linear(x, weight, bias):
    """Return ``W x + b`` of one sample."""
    return np.array([sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]) + bias


def convolve(x, weight, bias):
    """Return a convolution of ``(channels, height, width)``, as large as its input."""
    size = weight.shape[-1]
    before = size // 2
    padded = np.pad(x, ((0, 0), (before, before), (before, before)))
    out = np.zeros((len(weight), *x.shape[1:]))
    for channel, i, j in np.ndindex(out.shape):
        seen = padded[:, i : i + size, j : j + size]
        out[channel, i, j] = (weight[channel] * seen).sum() + bias[channel]
    return out


def run(block, x):
    """Return a block's output for one sample."""
    for kind, weight, bias in block:
        if kind == "linear":
            x = linear(x, weight, bias)
        elif kind == "convolution":
            x = convolve(x, weight, bias)
        elif kind == "flatten":
            x = x.reshape(-1)
        else:
            x = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0.0)}[kind](x)
    return x


def log_softmax(logits):
    """Return the logarithms of the probabilities of one sample."""
    largest = max(logits)
    return logits - largest - math.log(sum(math.exp(value - largest) for value in logits))


def mean_cross_entropy(logits, targets):
    """Return the mean over samples."""
    pairs = zip(logits, targets, strict=True)
    return -sum(log_softmax(one)[target] for one, target in pairs) / len(targets)


def slopes(loss, parameter, most=8):
    """Return ``(place, slope)`` at some places of an array, spread evenly, that `loss` reads."""
    places = list(np.ndindex(parameter.shape))
    places = list(itertools.islice(places, 0, None, max(1, len(places) // most)))
    found = []
    for place in places:
        kept = parameter[place]
        parameter[place] = kept + STEP
        above = loss()
        parameter[place] = kept - STEP
        below = loss()
        parameter[place] = kept
        found.append((place, (above - below) / (2 * STEP)))
    return found
