"""A transposed convolution's products, one number at a time (Goodfellow et al. 2016, chapter 9).

Each input position writes to the output positions that a convolution from there to here would read.
"""

import itertools

import numpy as np

from .convolution import positions, reads


def writes(weight, size, output_size, stride, dilation, padding, groups):
    """Yield ``(in channel, position, out channel, position, kernel index)`` that meet."""
    inputs_per_group = weight.shape[0] // groups
    for channel, out in itertools.product(range(weight.shape[0]), range(weight.shape[1])):
        to = (channel // inputs_per_group) * weight.shape[1] + out
        for position, k in itertools.product(positions(size), positions(weight.shape[2:])):
            where = reads(position, k, stride, dilation, padding, output_size)
            if where is not None:
                yield (channel, *position), (to, *where), (channel, out, *k)


def output(x, weight, bias, output_size, stride, dilation, padding, groups):
    """Return the layer's output."""
    found = np.zeros((len(x), weight.shape[1] * groups, *output_size))
    layout = stride, dilation, padding, groups
    for n in range(len(x)):
        for here, there, k in writes(weight, x.shape[2:], output_size, *layout):
            found[(n, *there)] += weight[k] * x[(n, *here)]
    if bias is not None:
        for channel, value in enumerate(bias):
            found[:, channel] += value
    return found


def products(x, weight, kernel, error, stride, dilation, padding, groups):
    """Return the error behind the layer (by ``kernel``), and weight and bias gradients."""
    behind, gradient = np.zeros_like(x), np.zeros_like(weight)
    layout = stride, dilation, padding, groups
    for n in range(len(x)):
        for here, there, k in writes(weight, x.shape[2:], error.shape[2:], *layout):
            behind[(n, *here)] += kernel[k] * error[(n, *there)]
            gradient[k] += x[(n, *here)] * error[(n, *there)]
    spatial = tuple(range(2, error.ndim))
    return behind, gradient, error.sum(axis=(0, *spatial))
