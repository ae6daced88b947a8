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


class Adam:
    """Adam with decay in the gradient (Kingma and Ba 2015), for one array."""

    def __init__(self, decay):
        self.decay, self.steps, self.first, self.second = decay, 0, 0.0, 0.0

    def moved(self, array, gradient, rate):
        """Return the array after a step."""
        gradient = gradient + self.decay * array
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean = self.first / (1 - 0.9**self.steps)
        square = self.second / (1 - 0.999**self.steps)
        return array - rate * mean / (np.sqrt(square) + 1e-8)


class Nesterov:
    """SGD with Nesterov's momentum and decay in the gradient, for one array."""

    def __init__(self, decay, momentum=0.9):
        self.decay, self.momentum, self.velocity = decay, momentum, 0.0

    def moved(self, array, gradient, rate):
        """Return the array after a step."""
        gradient = gradient + self.decay * array
        self.velocity = self.momentum * self.velocity + gradient
        return array - rate * (gradient + self.momentum * self.velocity)


class Released:
    """Training as in the released code: weights by Nesterov's SGD, feedback by an Adam of its own.

    Rates 5e-4 and 1e-4, decay 1e-6 for both; the second rate falls to 0.8 of itself every epoch.
    """

    def __init__(self, weights, biases, feedback):
        self.weights, self.biases, self.feedback = weights, biases, feedback
        forward, backward = (lambda _: Nesterov(1e-6)), (lambda _: Adam(1e-6))
        self.of_weights = list(map(forward, weights)), list(map(forward, biases))
        self.of_feedback = list(map(backward, feedback))

    def step(self, batch, epoch):
        """Learn from a batch."""
        deltas = direct_feedback_alignment.deltas([matrix.T for matrix in self.feedback])
        found = outer_products(self.weights, self.biases, batch, deltas)
        own = [gradient(self.weights, self.biases, batch, i) for i in range(len(self.feedback))]
        weights, biases = zip(*found, strict=True)
        self.weights = _moved(self.of_weights[0], self.weights, weights, 5e-4)
        self.biases = _moved(self.of_weights[1], self.biases, biases, 5e-4)
        self.feedback = _moved(self.of_feedback, self.feedback, own, 1e-4 * 0.8**epoch)


def _moved(optimizers, arrays, gradients, rate):
    every = zip(optimizers, arrays, gradients, strict=True)
    return [one.moved(array, slope, rate) for one, array, slope in every]
