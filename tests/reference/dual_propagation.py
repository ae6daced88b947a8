"""Dual propagation, as DP⊤ (Høier, Staudt and Zach 2023; Høier and Zach 2024), sample by sample.

Each hidden unit has two states, which the error above nudges apart, and the layer above gets their
mean. With ``Δ_k = s⁺_k - s⁻_k`` and ``s̄_k = α s⁺_k + (1-α) s⁻_k``:

    s⁺_k = f(W_k s̄_{k-1} + b_k + (1-α) W_{k+1}ᵀ Δ_{k+1})
    s⁻_k = f(W_k s̄_{k-1} + b_k -   α   W_{k+1}ᵀ Δ_{k+1})

and ``Δ_L = -β e``, with ``e`` the error at the output of the plain forward pass. The gradient is
``-Δ_k s̄_{k-1}ᵀ / β``. For ``α = 1/2`` this is the algorithm of 2023 with the loss made linear.
States begin as those of the forward pass, and one pass of inference goes from the last hidden layer
to the first; each further one goes up and down again.
"""

import math

import numpy as np

from .network import forward, output_error


def sweep(layers, passes):
    """Return the hidden layers 1 to ``layers`` in the order in which they are inferred."""
    up, down = list(range(1, layers + 1)), list(range(layers, 0, -1))
    return down + (up + down) * (passes - 1)


def mean(plus, minus, alpha):
    """Return ``s̄ = α s⁺ + (1-α) s⁻``."""
    return np.array([alpha * p + (1 - alpha) * m for p, m in zip(plus, minus, strict=True)])


def infer(weights, biases, states, error, alpha, beta, passes):
    """Return ``[s⁺_0, …, s⁺_{L-1}]``, the same for ``s⁻``, and ``Δ_L``; ``s_0`` is the input."""
    plus, minus = [h.copy() for h in states[:-1]], [h.copy() for h in states[:-1]]
    nudge = np.array([-beta * value for value in error])
    for layer in sweep(len(weights) - 1, passes):
        below = mean(plus[layer - 1], minus[layer - 1], alpha)
        above = nudge if layer == len(weights) - 1 else plus[layer + 1] - minus[layer + 1]
        weight, bias, feedback = weights[layer - 1], biases[layer - 1], weights[layer]
        both = np.zeros((2, len(bias)))
        for i in range(len(bias)):
            a = sum(weight[i, j] * below[j] for j in range(len(below))) + bias[i]
            push = sum(feedback[j, i] * above[j] for j in range(len(above)))
            both[0, i] = math.tanh(a + (1 - alpha) * push)
            both[1, i] = math.tanh(a - alpha * push)
        plus[layer], minus[layer] = both
    return plus, minus, nudge


def gradients(weights, biases, batch, alpha, beta, passes):
    """Return the gradients of every layer, means over the batch."""
    totals = [(np.zeros_like(w), np.zeros_like(b)) for w, b in zip(weights, biases, strict=True)]
    for x, target in batch:
        states = forward(weights, biases, x)
        error = output_error(states[-1], target)
        plus, minus, nudge = infer(weights, biases, states, error, alpha, beta, passes)
        differences = [p - m for p, m in zip(plus[1:], minus[1:], strict=True)] + [nudge]
        for layer, (weight, bias) in enumerate(totals):
            below = mean(plus[layer], minus[layer], alpha)
            for i in range(len(bias)):
                delta = -differences[layer][i] / beta
                bias[i] += delta / len(batch)
                for j in range(len(below)):
                    weight[i, j] += delta * below[j] / len(batch)
    return totals
