"""Feedback alignment (Lillicrap et al. 2016): ``δ_l = (B_{l+1}ᵀ δ_{l+1}) ⊙ f'(a_l)``, B random.

``feedback[l]`` has the shape of ``W_l``, and its transpose replaces that of ``W_l``.
"""

from .network import output_error, through_tanh


def deltas(feedback):
    def of_sample(states, target):
        found = [output_error(states[-1], target)]
        for layer in reversed(range(1, len(feedback))):
            signal = feedback[layer].T @ found[0]
            found.insert(0, through_tanh(signal, states[layer]))
        return found

    return of_sample
