"""A fully connected network, one sample and one number at a time.

Weights are lists of matrices ``W_l`` of shape (out, in) and biases ``b_l``; hidden layers are
``h_l = tanh(a_l)`` with ``a_l = W_l h_{l-1} + b_l``; the loss is the mean softmax cross-entropy.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

Matrix = np.ndarray
Gradients = list[tuple[Matrix, Matrix]]


def forward(weights: Sequence[Matrix], biases: Sequence[Matrix], x: Matrix) -> list[Matrix]:
    """Return ``[h_0 = x, h_1, …, h_{L-1}, y]`` of one sample; the output y is linear."""
    states = [x]
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        a = np.zeros(len(bias))
        for i in range(len(bias)):
            a[i] = sum(weight[i, j] * states[-1][j] for j in range(len(states[-1]))) + bias[i]
        last = layer == len(weights) - 1
        states.append(a if last else np.array([math.tanh(value) for value in a]))
    return states


def output_error(y: Matrix, target: int) -> Matrix:
    """Return the gradient of the cross-entropy of one sample: softmax(y) - onehot(target)."""
    exponentials = np.array([math.exp(value - max(y)) for value in y])
    error = exponentials / exponentials.sum()
    error[target] -= 1.0
    return error


def outer_products(
    weights: Sequence[Matrix],
    biases: Sequence[Matrix],
    batch: Sequence[tuple[Matrix, int]],
    deltas: Callable[[list[Matrix], int], list[Matrix | None]],
) -> Gradients:
    """Return ``∂L/∂W_l = mean δ_l h_{l-1}ᵀ`` and ``∂L/∂b_l = mean δ_l``, whatever makes the deltas.

    ``deltas(states, target)`` returns ``[δ_1, …, δ_L]`` of one sample; None for a layer that is
    not taught.
    """
    totals = [(np.zeros_like(w), np.zeros_like(b)) for w, b in zip(weights, biases, strict=True)]
    for x, target in batch:
        states = forward(weights, biases, x)
        for (weight, bias), delta, before in zip(
            totals, deltas(states, target), states[:-1], strict=True
        ):
            if delta is not None:
                for i in range(len(delta)):
                    bias[i] += delta[i] / len(batch)
                    for j in range(len(before)):
                        weight[i, j] += delta[i] * before[j] / len(batch)
    return totals


def through_tanh(signal: Matrix, h: Matrix) -> Matrix:
    """Return ``signal ⊙ f'(a)`` with ``f'(a) = 1 - tanh(a)²``."""
    return np.array([s * (1.0 - value**2) for s, value in zip(signal, h, strict=True)])
