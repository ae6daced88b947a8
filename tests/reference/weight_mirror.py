"""The weight mirror (Akrout et al. 2019), equation 7 with weight decay, one noise sample at a time.

In mirror mode a layer's input is noise ``ξ``, its output ``y = W ξ``, and the feedback, here of the
shape of ``W``, follows ``B ← (1 - λ) B + η y ξᵀ``. With ``η = λ / σ²``, σ² the noise's variance,
its mean is ``W``, as the mean of ``y ξᵀ`` is ``σ² W``.
"""

import numpy as np

from . import feedback_alignment


def mirrored(feedback, weight, noise, decay, variance):
    """Return the feedback after one mirror phase, of as many noise samples as there are rows."""
    outputs, inputs = weight.shape
    total = np.zeros_like(weight)
    for sample in noise:
        for i in range(outputs):
            y = sum(weight[i, j] * sample[j] for j in range(inputs))
            for j in range(inputs):
                total[i, j] += y * sample[j]
    return (1 - decay) * feedback + (decay / variance) * total / len(noise)


def deltas(feedback):
    return feedback_alignment.deltas(feedback)
