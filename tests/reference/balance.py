"""Balancing of modalities, one sample, modality and number at a time, from the papers' equations.

The network is ``h_m = tanh(A_m x_m + a_m)``, ``z_m = P_m h_m + p_m``, ``o = Σ_m W_m z_m + b`` with
the mean cross-entropy of ``o``; a modality on its own has ``o_m = V_m z_m + v_m``. What a sample
lacks is left out of its sum. All gradients are written out by hand.

A network is a mapping: ``"A"``, ``"a"``, ``"P"``, ``"p"``, ``"W"``, ``"V"`` and ``"v"`` have a
mapping of modalities to arrays, and ``"b"`` an array.
"""

import math

import numpy as np

OWN = ("A", "a", "P", "p")


def softmax(o):
    """Return the probabilities of classes."""
    e = np.exp(o - o.max())
    return e / e.sum()


def zeros(network):
    """Return gradients that are all zero."""
    return {
        key: {m: np.zeros_like(each) for m, each in value.items()}
        if isinstance(value, dict)
        else np.zeros_like(value)
        for key, value in network.items()
    }


def features(network, m, x):
    """Return a sample's features and vector."""
    h = np.tanh(network["A"][m] @ x + network["a"][m])
    return h, network["P"][m] @ h + network["p"][m]


def back(gradients, m, x, h, by_h):
    """Add a sample's gradients of an encoder, by that of its features."""
    inner = by_h * (1 - h**2)
    gradients["A"][m] += np.outer(inner, x)
    gradients["a"][m] += inner


def back_projection(network, gradients, m, x, h, by_z):
    """Add a sample's gradients of a projection and its encoder, by that of its vector."""
    gradients["P"][m] += np.outer(by_z, h)
    gradients["p"][m] += by_z
    back(gradients, m, x, h, network["P"][m].T @ by_z)


def joint(network, inputs, present, targets):
    """Return the gradients of the joint loss, and the loss."""
    gradients, total, count = zeros(network), 0.0, len(targets)
    for i, y in enumerate(targets):
        seen = [m for m in inputs if present[m][i]]
        made = {m: features(network, m, inputs[m][i]) for m in seen}
        o = network["b"] + sum(network["W"][m] @ made[m][1] for m in seen)
        error = softmax(o)
        total -= math.log(error[y])
        error[y] -= 1
        error /= count
        gradients["b"] += error
        for m in seen:
            h, z = made[m]
            gradients["W"][m] += np.outer(error, z)
            back_projection(network, gradients, m, inputs[m][i], h, network["W"][m].T @ error)
    return gradients, total / count


def alone(network, inputs, present, targets, m):
    """Return the gradients of a modality's own loss, over the samples that have it."""
    gradients = zeros(network)
    samples = [i for i in range(len(targets)) if present[m][i]]
    for i in samples:
        h, z = features(network, m, inputs[m][i])
        error = softmax(network["V"][m] @ z + network["v"][m])
        error[targets[i]] -= 1
        error /= len(samples)
        gradients["V"][m] += np.outer(error, z)
        gradients["v"][m] += error
        back_projection(network, gradients, m, inputs[m][i], h, network["V"][m].T @ error)
    return gradients


def added(first, second, weight=1.0):
    """Return the first gradients plus a multiple of the second ones."""
    return {
        key: {m: each + weight * second[key][m] for m, each in value.items()}
        if isinstance(value, dict)
        else value + weight * second[key]
        for key, value in first.items()
    }


def some(present):
    """Return the modalities that a sample has."""
    return [m for m, rows in present.items() if any(rows)]


def blended(network, inputs, present, targets, weights):
    """Return the gradients of Gradient-Blending."""
    whole, _ = joint(network, inputs, present, targets)
    found = added(zeros(network), whole, weights["joint"])
    for m in some(present):
        found = added(found, alone(network, inputs, present, targets, m), weights[m])
    return found


def weights(before, after):
    """Return Gradient-Blending's weights of losses (train, validation), where all generalise."""
    raw = {}
    for name in before:
        train, validation = before[name]
        later_train, later_validation = after[name]
        gap, later_gap = validation - train, later_validation - later_train
        raw[name] = (validation - later_validation) / (later_gap - gap) ** 2
    return {name: each / sum(raw.values()) for name, each in raw.items()}


def scores(network, inputs, present, targets):
    """Return the mean probability of the true class by ``W_m z_m + b``."""
    found = {}
    for m in some(present):
        chances = []
        for i, y in enumerate(targets):
            if present[m][i]:
                _, z = features(network, m, inputs[m][i])
                chances.append(softmax(network["W"][m] @ z + network["b"])[y])
        found[m] = sum(chances) / len(chances)
    return found


def coefficients(found, alpha):
    """Return OGM's coefficients of scores."""
    made = {}
    for m, score in found.items():
        others = [each for n, each in found.items() if n != m]
        ratio = score / (sum(others) / len(others)) if others else 1.0
        made[m] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    return made


def modulated(network, inputs, present, targets, alpha):
    """Return the gradients of OGM, without noise."""
    gradients, _ = joint(network, inputs, present, targets)
    for m, factor in coefficients(scores(network, inputs, present, targets), alpha).items():
        for key in OWN:
            gradients[key][m] = factor * gradients[key][m]
    return gradients


def shortest(g, u):
    """Return the shortest vector between two, found by halving: the slope of |.|² rises with a."""
    low, high = 0.0, 1.0
    for _ in range(200):
        a = (low + high) / 2
        slope = sum(2 * (a * x + (1 - a) * y) * (x - y) for x, y in zip(g, u, strict=True))
        low, high = (low, a) if slope > 0 else (a, high)
    return np.array([low * x + (1 - low) * y for x, y in zip(g, u, strict=True)])


def common(g, u):
    """Return MMPareto's direction, with the length of the sum."""
    if sum(x * y for x, y in zip(g, u, strict=True)) >= 0:
        return g + u
    d = shortest(g, u)
    return d * math.sqrt(sum((g + u) ** 2) / sum(d**2))


def pareto(network, inputs, present, targets, gamma):
    """Return the gradients of MMPareto."""
    whole, _ = joint(network, inputs, present, targets)
    found = whole
    for m in some(present):
        own = alone(network, inputs, present, targets, m)
        found = added(found, own)
        h = gamma * common(
            np.concatenate([whole[key][m].ravel() for key in OWN]),
            np.concatenate([own[key][m].ravel() for key in OWN]),
        )
        for key in OWN:
            size = whole[key][m].size
            found[key][m], h = h[:size].reshape(whole[key][m].shape), h[size:]
    return found


def taught(network, teachers, inputs, present, targets, weight):
    """Return the gradients of uni-modal teachers, which are networks of the same form."""
    gradients, _ = joint(network, inputs, present, targets)
    for m in some(present):
        samples = [i for i in range(len(targets)) if present[m][i]]
        for i in samples:
            h, _ = features(network, m, inputs[m][i])
            t, _ = features(teachers, m, inputs[m][i])
            by_h = weight * 2 * (h - t) / (len(h) * len(samples))
            back(gradients, m, inputs[m][i], h, by_h)
    return gradients
