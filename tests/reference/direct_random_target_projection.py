"""Direct random target projection (Frenkel et al. 2021): ``δ_l = (B_l y*) ⊙ f'(a_l)``, y* one-hot.

``feedback[l]`` has shape (width of layer l, classes). Only the output layer sees an error.
"""

import numpy as np

from .network import output_error, through_tanh


def deltas(feedback):
    def of_sample(states, target):
        onehot = np.zeros(len(states[-1]))
        onehot[target] = 1.0
        hidden = [
            through_tanh(matrix @ onehot, h)
            for matrix, h in zip(feedback, states[1:-1], strict=True)
        ]
        return [*hidden, output_error(states[-1], target)]

    return of_sample
