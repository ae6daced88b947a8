"""Kolen-Pollack (Kolen and Pollack 1994; Akrout et al. 2019, equations 16 and 17).

``ΔW = -η δ_{l+1} h_lᵀ - λ W`` and ``ΔB = -η δ_{l+1} h_lᵀ - λ B``, where
``δ_l = (B_{l+1}ᵀ δ_{l+1}) ⊙ f'(a_l)``. ``feedback[l]`` has the shape of ``W_l``. The first layer
has no use for its own, so it is None.
"""

from . import feedback_alignment
from .network import outer_products


def step(weights, biases, feedback, batch, rate, decay):
    """Return weights, biases and feedback after one step; biases decay as weights do."""
    gradients = outer_products(weights, biases, batch, feedback_alignment.deltas(feedback))
    new_weights, new_biases, new_feedback = [], [], []
    for w, b, f, (for_weight, for_bias) in zip(weights, biases, feedback, gradients, strict=True):
        new_weights.append(w - rate * for_weight - decay * w)
        new_biases.append(b - rate * for_bias - decay * b)
        new_feedback.append(None if f is None else f - rate * for_weight - decay * f)
    return new_weights, new_biases, new_feedback
