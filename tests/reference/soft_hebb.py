"""SoftHebb (Moraitis et al. 2022; Journé et al. 2023), one input, neuron and number at a time.

The neurons of a layer compete softly for each input ``x``: with ``u = W x``, ``y`` is the softmax
of ``u / T``, and ``Δw_k = Σ y_k (x - u_k w_k)`` over all inputs, so that a weight that wins for
inputs of one direction approaches length 1. In the deep network all but the winner, the neuron
with the largest ``u``, learn with ``-y_k`` (anti-Hebbian); in the single layer of 2022 none does.
There are no biases. For a convolution the channels compete at every position of every sample, and
the inputs are the patches.

The released program, here too, divides ``ΔW`` of a batch by its largest entry, and each neuron has
the learning rate ``η |r_k - 1|^q`` with ``r_k`` the length of its weight before the update.
"""

import math

import numpy as np

from .convolution import positions, reads

SMALLEST = 1e-30
"""Added to the largest entry of an update before it divides."""
LEAST = 1e-10
"""Added to the distance of a weight's length from 1."""


def patches(x, kernel, stride, dilation, padding):
    """Return what each position of a convolution sees, flat, for samples (n, channels, ...)."""
    size = x.shape[2:]
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, d, p in zip(size, kernel, stride, dilation, padding, strict=True)
    ]
    found = []
    for sample in x:
        for out in positions(counts):
            patch = np.zeros((len(sample), *kernel))
            for channel in range(len(sample)):
                for k in positions(kernel):
                    where = reads(out, k, stride, dilation, padding, size)
                    if where is not None:
                        patch[(channel, *k)] = sample[(channel, *where)]
            found.append(patch.reshape(-1))
    return found


def currents(weight, x):
    """Return ``u = W x`` of one input."""
    u = np.zeros(len(weight))
    for k in range(len(weight)):
        u[k] = sum(weight[k, i] * x[i] for i in range(len(x)))
    return u


def competition(u, temperature, anti):
    """Return ``y`` of one input, negative for all but the winner if ``anti``."""
    exponentials = [math.exp((value - max(u)) / temperature) for value in u]
    y = np.array([value / sum(exponentials) for value in exponentials])
    if anti:
        winner = list(u).index(max(u))
        for k in range(len(y)):
            y[k] = y[k] if k == winner else -y[k]
    return y


def change(weight, inputs, temperature, anti=True):
    """Return ``ΔW``, a sum over inputs, of a weight of shape (neurons, inputs of each)."""
    delta = np.zeros_like(weight)
    for x in inputs:
        u = currents(weight, x)
        y = competition(u, temperature, anti)
        for k in range(len(weight)):
            for i in range(len(x)):
                delta[k, i] += y[k] * (x[i] - u[k] * weight[k, i])
    return delta


def rates(weight, power):
    """Return ``|r_k - 1|^q`` of each neuron: nothing is left to learn at length 1."""
    found = np.zeros(len(weight))
    for k in range(len(weight)):
        length = math.sqrt(sum(value**2 for value in weight[k]))
        found[k] = (abs(length - 1) + LEAST) ** power
    return found


def gradient(weight, inputs, temperature, power, anti=True):
    """Return what gradient descent at the rate ``η`` must find to make the published update."""
    delta = change(weight, inputs, temperature, anti)
    largest = max(abs(value) for value in delta.reshape(-1)) + SMALLEST
    scale = rates(weight, power)
    found = np.zeros_like(weight)
    for k in range(len(weight)):
        for i in range(weight.shape[1]):
            found[k, i] = -scale[k] * delta[k, i] / largest
    return found


def triangle(u, power):
    """Return a layer's activities: what exceeds the mean of all neurons, to a power.

    ``u`` has a row for each neuron; further dimensions are positions, each with a separate mean.
    """
    out = np.zeros_like(u)
    for position in positions(u.shape[1:]):
        mean = sum(u[(k, *position)] for k in range(len(u))) / len(u)
        for k in range(len(u)):
            out[(k, *position)] = max(u[(k, *position)] - mean, 0.0) ** power
    return out
