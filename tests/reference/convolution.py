"""A convolution's three products, one number at a time (Goodfellow et al. 2016, chapter 9)."""

import itertools

import numpy as np


def positions(shape):
    return itertools.product(*(range(n) for n in shape))


def reads(out_position, kernel_position, stride, dilation, padding, size):
    """Return the input position that an output position reads, or None where it is padding."""
    where = [
        o * s + k * d - p
        for o, k, s, d, p in zip(
            out_position, kernel_position, stride, dilation, padding, strict=True
        )
    ]
    inside = all(0 <= w < n for w, n in zip(where, size, strict=True))
    return tuple(where) if inside else None


def products(x, weight, kernel, error, stride, dilation, padding, groups):
    """Return the error behind the layer (by ``kernel``), and weight and bias gradients."""
    per_group = weight.shape[1]
    outputs_per_group = weight.shape[0] // groups
    behind, gradient = np.zeros_like(x), np.zeros_like(weight)
    for n, out in itertools.product(range(len(x)), range(weight.shape[0])):
        first = (out // outputs_per_group) * per_group
        for position in positions(error.shape[2:]):
            for channel, k in itertools.product(range(per_group), positions(weight.shape[2:])):
                where = reads(position, k, stride, dilation, padding, x.shape[2:])
                if where is not None:
                    e = error[(n, out, *position)]
                    behind[(n, first + channel, *where)] += kernel[(out, channel, *k)] * e
                    gradient[(out, channel, *k)] += x[(n, first + channel, *where)] * e
    spatial = tuple(range(2, error.ndim))
    return behind, gradient, error.sum(axis=(0, *spatial))
