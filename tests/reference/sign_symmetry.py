"""Sign-symmetry (Liao et al. 2016): ``δ_l = (V_{l+1}ᵀ δ_{l+1}) ⊙ f'(a_l)``, ``V = M ⊙ sign(W)``.

The three forms differ in ``M`` (Moskovitz et al. 2018): one number for all (uSF), random and drawn
again for every batch (brSF), random and fixed (frSF). ``magnitudes[l]`` has the shape of
``W_l`` and no negative entry.
"""

import numpy as np

from . import feedback_alignment


def uniform(weight):
    """Return uSF's magnitudes, which keep an error's norm on average: 1 / sqrt(inputs)."""
    return np.full(weight.shape, 1.0 / np.sqrt(weight.shape[1]))


def signed(weight, magnitude):
    """Return ``M ⊙ sign(W)``, one number at a time."""
    found = np.zeros(weight.shape)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            if weight[i, j] > 0:
                found[i, j] = magnitude[i, j]
            elif weight[i, j] < 0:
                found[i, j] = -magnitude[i, j]
    return found


def deltas(weights, magnitudes):
    return feedback_alignment.deltas(
        [signed(w, m) for w, m in zip(weights, magnitudes, strict=True)]
    )
