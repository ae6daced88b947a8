"""PEPITA (Dellaferrera and Kreiman 2022, algorithm 1), one sample at a time.

``feedback`` is F, of shape (inputs, classes). With ``h`` the states of the first pass and ``hᵉ``
those of the second, from ``x + F e``: ``ΔW_l = (h_l - hᵉ_l) (hᵉ_{l-1})ᵀ``, for the last layer
``e (hᵉ_{L-1})ᵀ``. A bias is a weight from an input of 1.
"""

import numpy as np

from .convolution import products
from .network import forward, output_error


def gradients(weights, biases, batch, feedback):
    totals = [(np.zeros_like(w), np.zeros_like(b)) for w, b in zip(weights, biases, strict=True)]
    for x, target in batch:
        states = forward(weights, biases, x)
        error = output_error(states[-1], target)
        changed = forward(weights, biases, x + feedback @ error)
        for layer, (weight, bias) in enumerate(totals):
            last = layer == len(totals) - 1
            difference = error if last else states[layer + 1] - changed[layer + 1]
            for i in range(len(bias)):
                bias[i] += difference[i] / len(batch)
                for j in range(weight.shape[1]):
                    weight[i, j] += difference[i] * changed[layer][j] / len(batch)
    return totals


def of_convolution(weight, before, after, inputs, padding):
    """Return a kernel's gradients: the difference in activity times the patch, a mean over both.

    ``before`` and ``after`` are the activities of the two passes, (batch, channels, ...), and
    ``inputs`` what the layer got in the second one.
    """
    places = before.size / before.shape[1]
    ones = [1] * len(padding)
    difference = (before - after) / places
    _, kernel, bias = products(inputs, weight, weight, difference, ones, ones, padding, 1)
    return kernel, bias
