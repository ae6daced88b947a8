"""Difference target propagation (Lee, Zhang, Fischer and Bengio 2015, algorithm 1).

``inverses[l]`` is ``g`` of hidden layer l + 2: it leads from ``h_{l+2}`` back to ``h_{l+1}``. As
published ``g(h) = tanh(V h + c)``, and ``inverses[l]`` holds ``V`` and ``c``; `targets` takes any
functions. The first target is ``ĥ_{L-1} = h_{L-1} - η̂ ∂ℓ/∂h_{L-1}``, with ``ℓ`` the loss of one
sample, and the ones below are ``ĥ_{i-1} = h_{i-1} - g_i(h_i) + g_i(ĥ_i)``. A hidden layer lowers
``‖f_i(h_{i-1}) - ĥ_i‖² / (2 η̂)``, its target a constant. The division is not in the paper: with it
the layer before the last gets the gradient of the loss. The last layer lowers the loss.
"""

import math

import numpy as np

from .network import output_error, through_tanh


def affine(matrix, bias, x):
    """Return ``matrix @ x + bias``, one number at a time."""
    result = np.zeros(len(bias))
    for i in range(len(bias)):
        result[i] = sum(matrix[i, j] * x[j] for j in range(len(x))) + bias[i]
    return result


def tanh_layer(matrix, bias, x):
    """Return ``tanh(matrix @ x + bias)``."""
    return np.array([math.tanh(value) for value in affine(matrix, bias, x)])


def functions(inverses):
    """Return the functions ``g(h) = tanh(V h + c)`` of pairs of V and c."""
    return [lambda h, v=v, c=c: tanh_layer(v, c, h) for v, c in inverses]


def targets(last, states, target, backward, rate):
    """Return ``[ĥ_1, …, ĥ_{L-1}]`` of one sample.

    ``last`` is the weight of the last layer, ``rate`` is η̂, and ``backward`` are the functions g.
    """
    error, h = output_error(states[-1], target), states[-2]
    found = [np.zeros(len(h))]
    for j in range(len(h)):
        gradient = sum(last[i, j] * error[i] for i in range(len(error)))
        found[0][j] = h[j] - rate * gradient
    for layer in reversed(range(len(backward))):
        g, h, before = backward[layer], states[layer + 2], states[layer + 1]
        found.insert(0, before - g(h) + g(found[0]))
    return found


def deltas(last, backward, rate):
    """Return what makes ``δ_i = (h_i - ĥ_i) / η̂ ⊙ f'(a_i)`` of one sample."""

    def of_sample(states, target):
        hidden = [
            through_tanh((h - aim) / rate, h)
            for h, aim in zip(
                states[1:-1], targets(last, states, target, backward, rate), strict=True
            )
        ]
        return [*hidden, output_error(states[-1], target)]

    return of_sample


def reconstruction(weight, bias, inverse, h):
    """Return ``‖g(f(h)) - h‖²``; ``h`` has its noise in it."""
    back = tanh_layer(*inverse, tanh_layer(weight, bias, h))
    return sum((value - aim) ** 2 for value, aim in zip(back, h, strict=True))


def inverse_gradients(weights, biases, inverses, states, noise):
    """Return the gradients of ``V`` and ``c`` of every inverse, means over the samples.

    Each inverse lowers ``‖g_i(f_i(h_{i-1} + ε)) - (h_{i-1} + ε)‖²``, with f a constant. ``states``
    are those of each sample, and ``noise[l]`` has a row ε for each, of the width of ``h_{l+1}``.
    """
    totals = [(np.zeros_like(v), np.zeros_like(c)) for v, c in inverses]
    for sample, of_sample in enumerate(states):
        for layer, (v, c) in enumerate(inverses):
            noisy = of_sample[layer + 1] + noise[layer][sample]
            given = tanh_layer(weights[layer + 1], biases[layer + 1], noisy)
            back = tanh_layer(v, c, given)
            for i in range(len(c)):
                slope = 2 * (back[i] - noisy[i]) * (1 - back[i] ** 2) / len(states)
                totals[layer][1][i] += slope
                for j in range(len(given)):
                    totals[layer][0][i, j] += slope * given[j]
    return totals
