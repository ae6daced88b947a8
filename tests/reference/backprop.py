"""Backpropagation (Rumelhart, Hinton and Williams 1986): ``δ_l = (W_{l+1}ᵀ δ_{l+1}) ⊙ f'(a_l)``."""

from .network import output_error, through_tanh


def deltas(weights):
    def of_sample(states, target):
        found = [output_error(states[-1], target)]
        for layer in reversed(range(1, len(weights))):
            signal = weights[layer].T @ found[0]
            found.insert(0, through_tanh(signal, states[layer]))
        return found

    return of_sample
