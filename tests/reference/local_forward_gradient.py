"""The local forward gradient (Ren et al. 2023), one sample at a time.

Hidden layer l has a classifier ``C_l h_l + c_l``; along the noise ``u`` of a sample its
cross-entropy changes by ``s = Σ_k (p_k - y_k) (C_l u)_k``, and ``δ_l = (s u) ⊙ f'(a_l)``.
"""

import numpy as np

from .network import output_error, through_tanh


def deltas(heads, noises):
    """Return what makes the deltas; ``noises[l][i]`` is for sample i, in the order of the batch."""
    number = iter(range(10**6))

    def of_sample(states, target):
        sample = next(number)
        hidden = [
            through_tanh(slope(head, h, noise[sample], target) * noise[sample], h)
            for head, h, noise in zip(heads, states[1:-1], noises, strict=True)
        ]
        return [*hidden, output_error(states[-1], target)]

    return of_sample


def slope(head, h, u, target):
    """Return the derivative of one sample's local loss along u."""
    weight, bias = head
    error = output_error(weight @ h + bias, target)
    return sum(error[k] * sum(weight[k, j] * u[j] for j in range(len(u))) for k in range(len(bias)))


def head_gradients(head, outputs, targets):
    """Return the exact gradients of a classifier: means of outer products."""
    weight, bias = head
    totals = np.zeros_like(weight), np.zeros_like(bias)
    for h, target in zip(outputs, targets, strict=True):
        error = output_error(weight @ h + bias, target)
        totals[0][:] += np.outer(error, h) / len(targets)
        totals[1][:] += error / len(targets)
    return totals
