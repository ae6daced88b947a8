"""Choosing among fixed random values by scores, one tensor and one slot at a time.

Slot machines from Aladago and Torresani 2021, edge-popup from Ramanujan et al. 2020 (equations 2 to
4), several coats from Okoshi et al. 2022, signed masks from Koster, Grothe and Rettinger 2022; SGD
from PyTorch's documentation of it. Values and scores are arrays ``(K, ...)``; a supermask's K is 1.
Below them is the generator, from its specification, in integers.
"""

import numpy as np


def best(values, scores):
    """Return each weight of a slot machine: the value whose score is the highest, or the first."""
    weights = np.zeros(values.shape[1:], values.dtype)
    for place in np.ndindex(weights.shape):
        top = 0
        for k in range(1, len(values)):
            if scores[(k, *place)] > scores[(top, *place)]:
                top = k
        weights[place] = values[(top, *place)]
    return weights


def ranks(scores):
    """Return how many scores of a tensor are higher than each; of equal ones the first is."""
    flat = list(scores.reshape(-1))
    order = sorted(range(len(flat)), key=lambda place: (-flat[place], place))
    out = np.zeros(len(flat), int)
    for rank, place in enumerate(order):
        out[place] = rank
    return out.reshape(scores.shape)


def edge_popup(values, scores, keep):
    """Return the weights: the value of the highest scores, the given share of them, else zero."""
    return multicoated(values, scores, [keep])


def multicoated(values, scores, keeps):
    """Return the weights: the value, as often as there are coats that keep it."""
    (value,), (score,) = values, scores
    weights = np.zeros_like(value)
    for keep in keeps:
        mask = ranks(score) < round(keep * score.size)
        weights = weights + mask * value
    return weights


def signed(values, scores, threshold):
    """Return the weights: the value times -1, 0 or 1, by where the score is."""
    (value,), (score,) = values, scores
    weights = np.zeros_like(value)
    for place in np.ndindex(value.shape):
        if score[place] > threshold:
            weights[place] = value[place]
        elif score[place] < -threshold:
            weights[place] = -value[place]
    return weights


def step(
    choose,
    values,
    scores,
    velocities,
    gradient,
    *,
    lr,
    momentum=0.0,
    dampening=0.0,
    nesterov=False,
    weight_decay=0.0,
):
    """Move all scores of all tensors by one step of SGD, in place.

    Args:
        choose: Makes weights of a tensor's values and scores.
        values: For each tensor, (K, ...).
        scores: As values.
        velocities: For each tensor, None before its first step.
        gradient: Returns the loss's gradient for each tensor, at these weights.
        lr: As ever, like all below.
    """
    weights = [choose(v, s) for v, s in zip(values, scores, strict=True)]
    for tensor, slope in enumerate(gradient(weights)):
        moves = np.zeros_like(scores[tensor])
        velocity = np.zeros_like(scores[tensor])
        for k in range(len(moves)):  # the gradient reaches all slots, the chosen one as the others
            taught = slope * values[tensor][k] + weight_decay * scores[tensor][k]
            if velocities[tensor] is None:
                velocity[k] = taught
            else:
                velocity[k] = momentum * velocities[tensor][k] + (1 - dampening) * taught
            if momentum == 0:
                moves[k] = taught
            else:
                moves[k] = taught + momentum * velocity[k] if nesterov else velocity[k]
        velocities[tensor] = velocity if momentum else None
        scores[tensor] = scores[tensor] - lr * moves


def slot_machine_step(values, scores, velocities, gradient, **settings):
    """Move all K scores of each weight of a slot machine; see `step`."""
    step(best, values, scores, velocities, gradient, **settings)


# The generator.

SIXTY_FOUR, THIRTY_TWO = 2**64, 2**32


def mix(x):
    """Return a word's mixed bits."""
    x ^= x >> 16
    x = (x * 0x7FEB352D) % THIRTY_TWO
    x ^= x >> 15
    x = (x * 0x846CA68B) % THIRTY_TWO
    x ^= x >> 16
    return x


def spread(x):
    """Return SplitMix64's next output behind a state."""
    x = (x + 0x9E3779B97F4A7C15) % SIXTY_FOUR
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % SIXTY_FOUR
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % SIXTY_FOUR
    return x ^ (x >> 31)


def key(*numbers):
    """Return 64 bits of numbers in their order."""
    z = 0
    for number in numbers:
        z = spread(z ^ number)
    return z


def word(seed, stream, slot, place):
    """Return the word of one slot of one weight."""
    low_s, low_t = key(seed, stream) % THIRTY_TWO, key(seed, stream, slot) % THIRTY_TWO
    return mix((mix(place ^ low_s) + low_t) % THIRTY_TWO)


def second(x):
    """Return the word that an initial score is made of."""
    return ((x ^ (x >> 15)) * 0x9E3779B1) % THIRTY_TWO


def symmetric(x, amplitude):
    """Return a word as a number in (-amplitude, amplitude), rounded to float32 once."""
    odd = (x // 256) | 1
    unit = float(np.float32(amplitude / 2**23))
    return float(np.float32((odd - 2**23) * unit))  # 48 bits at most: exact before rounding


def positive(x, amplitude):
    """Return a word as a number in (0, amplitude), rounded to float32 once."""
    unit = float(np.float32(amplitude / 2**24))
    return float(np.float32(((x // 256) | 1) * unit))
