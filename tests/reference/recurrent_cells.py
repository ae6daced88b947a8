"""Recurrent cells, one number at a time, and their backward pass by hand.

Elman (1990), the GRU of Cho et al. (2014) with the reset after the product, and the LSTM of
Hochreiter and Schmidhuber (1997) with forget gate. Of one sample: input ``x``, state ``h``, ``c``.
``a = W x + b`` and ``u = U h + d`` are the products of all gates; errors go back through them by
``B_W`` and ``B_U``.
"""

import math

import numpy as np


def product(weight, x, bias):
    return [sum(weight[i, j] * x[j] for j in range(len(x))) + bias[i] for i in range(len(weight))]


def behind(kernel, errors):
    return np.array(
        [sum(kernel[i, j] * errors[i] for i in range(len(errors))) for j in range(kernel.shape[1])]
    )


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def elman(a, u, error, relu=False):
    """Return the next state, and the error at ``a`` and ``u``."""
    new = [max(0.0, x + y) if relu else math.tanh(x + y) for x, y in zip(a, u, strict=True)]
    at = [e * (float(n > 0) if relu else 1 - n**2) for e, n in zip(error, new, strict=True)]
    return new, at


def gru(a, u, h, error):
    """Gates are in the order reset, update, new; ``h' = (1 - z) n + z h``.

    Returns:
        The next state, the errors at ``a`` and ``u``, and the one at ``h`` that passes no product.
    """
    size = len(h)
    new, direct = [0.0] * size, np.zeros(size)
    at_a, at_u = [0.0] * (3 * size), [0.0] * (3 * size)
    for i in range(size):
        r, z = sigmoid(a[i] + u[i]), sigmoid(a[size + i] + u[size + i])
        n = math.tanh(a[2 * size + i] + r * u[2 * size + i])
        new[i] = (1 - z) * n + z * h[i]
        at_n = error[i] * (1 - z) * (1 - n**2)
        at_r = at_n * u[2 * size + i] * r * (1 - r)
        at_z = error[i] * (h[i] - n) * z * (1 - z)
        at_a[i], at_a[size + i], at_a[2 * size + i] = at_r, at_z, at_n
        at_u[i], at_u[size + i], at_u[2 * size + i] = at_r, at_z, at_n * r
        direct[i] = error[i] * z
    return new, at_a, at_u, direct


def lstm(a, u, c, error, error_c):
    """Gates are in the order input, forget, cell, output.

    Returns:
        The next ``h`` and ``c``, the errors at ``a`` (and ``u``), and the error at the old ``c``.
    """
    size = len(c)
    new_h, new_c = [0.0] * size, [0.0] * size
    at, at_c = [0.0] * (4 * size), np.zeros(size)
    for k in range(size):
        i, f, o = (sigmoid(a[g * size + k] + u[g * size + k]) for g in (0, 1, 3))
        g = math.tanh(a[2 * size + k] + u[2 * size + k])
        new_c[k] = f * c[k] + i * g
        out = math.tanh(new_c[k])
        new_h[k] = o * out
        at_new_c = error_c[k] + error[k] * o * (1 - out**2)
        at[k] = at_new_c * g * i * (1 - i)
        at[size + k] = at_new_c * c[k] * f * (1 - f)
        at[2 * size + k] = at_new_c * i * (1 - g**2)
        at[3 * size + k] = error[k] * out * o * (1 - o)
        at_c[k] = at_new_c * f
    return new_h, new_c, at, at_c
