"""Error broadcast and decorrelation (Erdogan, Pehlevan and Erdogan 2025), with ``g(h) = h``.

For each hidden layer, from batch to batch:

- equation 4: ``R ← λ R + (1 - λ) mean(e hᵀ)``, here of shape (classes, width);
- equations 6 and 7: the layer lowers ``½ |R|²``, whose gradient for a sample's ``h`` is ``Rᵀ e``
  times ``(1 - λ) / n``; the constant goes into the layer's learning rate: here it is ``1 / (n σ)``;
- equation 9: it lowers ``Σ_i (mean(h_i²) - P)²`` times a weight;
- equation 11: it raises ``½ log det(C + ε I)`` times a weight, ``C ← λ C + (1 - λ) mean(h hᵀ)``.
"""

import numpy as np

from .network import forward, outer_products, output_error, through_tanh


def followed(before, pairs, forgetting):
    """Return ``λ before + (1 - λ) mean(a bᵀ)`` over the pairs ``(a, b)``, a number at a time."""
    mean = np.zeros_like(before)
    for a, b in pairs:
        for i in range(len(a)):
            for j in range(len(b)):
                mean[i, j] += a[i] * b[j] / len(pairs)
    return forgetting * before + (1 - forgetting) * mean


def power_gradient(h, outputs, level):
    """Return n times the gradient of ``Σ_i (mean(h_i²) - level)²`` for one output, ``h``."""
    found = np.zeros(len(h))
    for i in range(len(h)):
        excess = sum(other[i] ** 2 for other in outputs) / len(outputs) - level
        found[i] = 2 * excess * 2 * h[i]
    return found


def entropy_gradient(h, autocorrelation, forgetting, epsilon):
    """Return n times the gradient of ``½ log det(C + ε I)`` for one output, ``h``."""
    inverse = np.linalg.inv(autocorrelation + epsilon * np.eye(len(h)))
    return (1 - forgetting) * inverse @ h


def step(weights, biases, batch, correlations, autocorrelations, settings):
    """Return the gradients of one batch, and both kinds of correlations after it."""
    forgetting, epsilon = settings["forgetting"], settings["epsilon"]
    all_states = [forward(weights, biases, x) for x, _ in batch]
    errors = [output_error(s[-1], t) for s, (_, t) in zip(all_states, batch, strict=True)]
    outputs = [[states[layer + 1] for states in all_states] for layer in range(len(weights) - 1)]
    correlations = [
        followed(r, list(zip(errors, hs, strict=True)), forgetting)
        for r, hs in zip(correlations, outputs, strict=True)
    ]
    autocorrelations = [
        followed(c, list(zip(hs, hs, strict=True)), forgetting)
        for c, hs in zip(autocorrelations, outputs, strict=True)
    ]

    def deltas(states, target):
        error = output_error(states[-1], target)
        hidden = []
        for layer, h in enumerate(states[1:-1]):
            signal = correlations[layer].T @ error / settings["initial"]
            signal += settings["power"] * power_gradient(h, outputs[layer], settings["level"])
            signal -= settings["entropy"] * entropy_gradient(
                h, autocorrelations[layer], forgetting, epsilon
            )
            hidden.append(through_tanh(signal, h))
        return [*hidden, error]

    return outer_products(weights, biases, batch, deltas), correlations, autocorrelations
