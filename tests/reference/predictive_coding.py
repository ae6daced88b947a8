"""Predictive coding, one sample and one number at a time.

Layer l predicts ``p_l = tanh(a_l)`` with ``a_l = W_l h_{l-1} + b_l``; the output ``p_L = a_L`` is
linear. The activation is inside the prediction, and states are activities (Millidge et al. 2022;
Goemaere et al. 2025); Whittington and Bogacz 2017 predict what is before the activation instead.
With ``h_0 = x``, the energy of one sample is ``F = Σ_{l<L} ½|ε_l|² + loss(p_L)`` and
``ε_l = h_l - p_l``. There is no state at the output: the loss takes the place of its error.

Inference lowers F in ``h_1 … h_{L-1}``, from the forward pass on, all states at once:

- `infer_states`: ``T`` steps of gradient descent on the states, at the rate ``γ``. If predictions
  are fixed (Millidge et al. 2020; Rosenbaum 2022), ``p_l``, ``tanh'(a_l)`` and the output error
  stay those of the forward pass.
- `infer_errors` (ePC, Goemaere et al. 2025, arXiv 2505.20137): the errors are free and the states
  follow, ``h_l = p_l + ε_l`` from the first layer on; ``T`` steps on the errors, from zero.

The weights' gradient is that of F at the last states, each layer with the states on both its sides
constant: ``∂F/∂W_l = δ_l h_{l-1}ᵀ`` and ``∂F/∂b_l = δ_l``, with ``δ_l = ∂F/∂a_l``, which is
``-ε_l ⊙ tanh'(a_l)``, at the output the gradient of the loss.
"""

import numpy as np

from .blocks import linear, log_softmax, run
from .network import output_error, through_tanh


def states_of(weights, biases, x, errors=None):
    """Return ``[h_0, …, h_{L-1}]`` that follow from the errors ``[ε_1, …, ε_{L-1}]``, or none."""
    errors = [np.zeros_like(b) for b in biases[:-1]] if errors is None else errors
    states = [x]
    for weight, bias, error in zip(weights[:-1], biases[:-1], errors, strict=True):
        states.append(np.tanh(linear(states[-1], weight, bias)) + error)
    return states


def predictions(weights, biases, states):
    """Return ``[p_1, …, p_L]`` from ``[h_0, …, h_{L-1}]``."""
    found = [linear(h, w, b) for w, b, h in zip(weights, biases, states, strict=True)]
    return [*[np.tanh(a) for a in found[:-1]], found[-1]]


def deltas(states, predicted, target):
    """Return ``[δ_1, …, δ_L]``, from ``[h_0, …, h_{L-1}]`` and ``[p_1, …, p_L]``."""
    hidden = [through_tanh(p - h, p) for h, p in zip(states[1:], predicted[:-1], strict=True)]
    return [*hidden, output_error(predicted[-1], target)]


def through(weight, delta):
    """Return ``Wᵀ δ``, one number at a time."""
    found = np.zeros(weight.shape[1])
    for j in range(weight.shape[1]):
        found[j] = sum(weight[i, j] * delta[i] for i in range(len(delta)))
    return found


def energy(blocks, states, target):
    """Return F of one sample, for `blocks` of any layers, from ``[h_0, …, h_{L-1}]``."""
    predicted = [run(block, h) for block, h in zip(blocks, states, strict=True)]
    errors = [h - p for h, p in zip(states[1:], predicted[:-1], strict=True)]
    squares = sum(sum(value**2 for value in error.reshape(-1)) for error in errors)
    return squares / 2 - log_softmax(predicted[-1])[target]


def infer_states(weights, biases, x, target, rate, steps, fixed=False):
    """Return ``[h_0, …, h_{L-1}]`` after so many steps on the states."""
    states = states_of(weights, biases, x)
    initial = predictions(weights, biases, states)
    for _ in range(steps):
        predicted = initial if fixed else predictions(weights, biases, states)
        found = deltas(states, predicted, target)
        moved = [x]
        for layer in range(1, len(states)):
            slope = states[layer] - predicted[layer - 1]
            slope = slope + through(weights[layer], found[layer])
            moved.append(states[layer] - rate * slope)
        states = moved
    return states


def infer_errors(weights, biases, x, target, rate, steps):
    """Return ``[h_0, …, h_{L-1}]`` after so many steps on the errors."""
    errors = [np.zeros_like(b) for b in biases[:-1]]
    for _ in range(steps):
        states = states_of(weights, biases, x, errors)
        predicted = predictions(weights, biases, states)
        backward = through(weights[-1], output_error(predicted[-1], target))  # ∂loss/∂h_{L-1}
        slopes = []
        for layer in reversed(range(len(errors))):
            slopes.insert(0, errors[layer] + backward)
            delta = through_tanh(backward, predicted[layer])
            backward = through(weights[layer], delta)
        errors = [error - rate * slope for error, slope in zip(errors, slopes, strict=True)]
    return states_of(weights, biases, x, errors)


def gradients(weights, biases, batch, infer, fixed=False):
    """Return the gradients of all layers, means over the samples.

    ``infer(x, target)`` returns the last states of one sample. If predictions are fixed, each
    layer's own input is that of the forward pass too.
    """
    totals = [(np.zeros_like(w), np.zeros_like(b)) for w, b in zip(weights, biases, strict=True)]
    for x, target in batch:
        states = infer(x, target)
        sources = states_of(weights, biases, x) if fixed else states
        found = deltas(states, predictions(weights, biases, sources), target)
        for (weight, bias), delta, before in zip(totals, found, sources, strict=True):
            for i in range(len(delta)):
                bias[i] += delta[i] / len(batch)
                for j in range(len(before)):
                    weight[i, j] += delta[i] * before[j] / len(batch)
    return totals
