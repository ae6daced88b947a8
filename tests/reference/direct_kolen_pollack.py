"""Direct Kolen-Pollack (Webster, Choi and Ahn 2021): ``δ_l = (B_lᵀ e) ⊙ f'(a_l)``, B_l learned.

``ΔB_l = -η e h_lᵀ - λ B_l``: what the output layer's weight would get, were ``h_l`` its input.
``feedback[l]`` has shape (classes, width of layer l), one for each hidden layer.
"""

import numpy as np

from . import direct_feedback_alignment
from .network import forward, outer_products, output_error


def gradient(weights, biases, batch, layer):
    """Return ``mean e h_lᵀ``, one number at a time."""
    total = np.zeros((weights[-1].shape[0], weights[layer].shape[0]))
    for x, target in batch:
        states = forward(weights, biases, x)
        error, h = output_error(states[-1], target), states[layer + 1]
        for i in range(len(error)):
            for j in range(len(h)):
                total[i, j] += error[i] * h[j] / len(batch)
    return total


def step(weights, biases, feedback, batch, rate, decay):
    """Return weights, biases and feedback after one step; biases decay as weights do."""
    deltas = direct_feedback_alignment.deltas([matrix.T for matrix in feedback])
    gradients = outer_products(weights, biases, batch, deltas)
    new_feedback = [
        matrix - rate * gradient(weights, biases, batch, layer) - decay * matrix
        for layer, matrix in enumerate(feedback)
    ]
    new_weights = [w - rate * g - decay * w for w, (g, _) in zip(weights, gradients, strict=True)]
    new_biases = [b - rate * g - decay * b for b, (_, g) in zip(biases, gradients, strict=True)]
    return new_weights, new_biases, new_feedback
