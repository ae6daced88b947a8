"""The forward gradient (Baydin et al. 2022): ``(∇f · v) v`` by forward mode, written out.

``directions`` are pairs (V_l, c_l) shaped like the weights and biases. The derivative of each state
along them is carried forward: ``a'_l = V_l h_{l-1} + W_l h'_{l-1} + c_l``, ``h'_l = f'(a_l) a'_l``.
"""

import numpy as np

from .network import forward, output_error


def slope_of_sample(weights, biases, directions, x, target):
    """Return the derivative of one sample's loss along the directions."""
    states = forward(weights, biases, x)
    moved = np.zeros(len(x))
    for layer, (weight, (wise, bias)) in enumerate(zip(weights, directions, strict=True)):
        moved = np.array(
            [
                sum(
                    wise[i, j] * states[layer][j] + weight[i, j] * moved[j]
                    for j in range(len(moved))
                )
                + bias[i]
                for i in range(len(bias))
            ]
        )
        if layer < len(weights) - 1:
            moved = moved * (1.0 - states[layer + 1] ** 2)
    return sum(e * m for e, m in zip(output_error(states[-1], target), moved, strict=True))


def gradients(weights, biases, batch, directions):
    slopes = [slope_of_sample(weights, biases, directions, x, target) for x, target in batch]
    mean = sum(slopes) / len(batch)
    return [(mean * wise, mean * bias) for wise, bias in directions]
