"""Local losses of one block, from its outputs for all samples, one number at a time.

pred and sim from Nøkland and Eidnes 2019, section 2; pred after averaging over patches from
Belilovsky, Eickenberg and Oyallon 2019; InfoPro from Wang et al. 2021, equation 6 in the form with
a softmax; auxiliary layers from Ma et al. 2024. ``head`` is a mapping of names to arrays.
"""

import math

import numpy as np

from .blocks import convolve, linear, mean_cross_entropy

EPSILON = 1e-5
"""Of batch normalisation."""


def averaged(x, rows, columns):
    """Return each map averaged over ``rows * columns`` patches, which overlap where they must."""
    channels, height, width = x.shape
    out = np.zeros((channels, rows, columns))
    for c, i, j in np.ndindex(out.shape):
        down = range(i * height // rows, -(-(i + 1) * height // rows))
        across = range(j * width // columns, -(-(j + 1) * width // columns))
        patch = [x[c, row, column] for row in down for column in across]
        out[c, i, j] = sum(patch) / len(patch)
    return out


def flat(x, most):
    """Return the features of a sample, of maps at most so many."""
    if x.ndim == 3 and x.size > most:
        side = max(1, math.floor(math.sqrt(most / len(x))))
        x = averaged(x, min(side, x.shape[1]), min(side, x.shape[2]))
    return x.reshape(-1)


def normalised(maps):
    """Return all samples' maps, each channel with mean 0 and variance 1 over the batch."""
    out = [np.zeros_like(m) for m in maps]
    for channel in range(len(maps[0])):
        values = np.concatenate([m[channel].reshape(-1) for m in maps])
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        for sample, m in enumerate(maps):
            out[sample][channel] = (m[channel] - mean) / math.sqrt(variance + EPSILON)
    return out


def pooled_convolution(outputs, head):
    """Return the released layers of InfoPro: convolution, norm, mean over positions, linear."""
    weight, nothing = head["auxiliary.weight"], np.zeros(len(head["auxiliary.weight"]))
    # At stride 2 every second row and column is kept, from the first on.
    step = 2 if len(weight) > len(outputs[0]) else 1
    maps = [convolve(h, weight, nothing)[:, ::step, ::step] for h in outputs]
    made = []
    for m in normalised(maps):
        factors, biases = head["norm.weight"][:, None], head["norm.bias"][:, None]
        active = np.maximum(m.reshape(len(m), -1) * factors + biases, 0.0)
        means = np.array([sum(channel) / len(channel) for channel in active])
        made.append(np.maximum(linear(means, head["hidden.weight"], head["hidden.bias"]), 0.0))
    return made


def auxiliary(outputs, head):
    """Return what the layers between block and classifier make of the outputs, if there are any."""
    if "auxiliary.weight" in head:
        return pooled_convolution(outputs, head)
    number = 0
    while f"auxiliary{number}.weight" in head:
        weight, bias = head[f"auxiliary{number}.weight"], head[f"auxiliary{number}.bias"]
        if outputs[0].ndim == 3:
            outputs = normalised([convolve(h, weight, bias) for h in outputs])
        else:
            outputs = [linear(h, weight, bias) for h in outputs]
        outputs = [np.maximum(h, 0.0) for h in outputs]
        number += 1
    return outputs


def prediction(outputs, targets, head, features):
    """Return the cross-entropy of a linear classifier."""
    seen = [flat(h, features) for h in auxiliary(outputs, head)]
    logits = [linear(x, head["classifier.weight"], head["classifier.bias"]) for x in seen]
    return mean_cross_entropy(logits, targets)


def deviations(x):
    """Return the standard deviation of each map over its positions."""
    found = []
    for values in x.reshape(len(x), -1):
        mean = sum(values) / len(values)
        found.append(math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)))
    return np.array(found)


def similarities(features):
    """Return the cosines between all pairs of samples, each less its own mean."""
    centred = [x - sum(x) / len(x) for x in features]
    lengths = [max(math.sqrt(sum(x**2)), 1e-8) for x in centred]
    out = np.zeros((len(centred), len(centred)))
    for i, j in np.ndindex(out.shape):
        out[i, j] = sum(centred[i] * centred[j]) / (lengths[i] * lengths[j])
    return out


def similarity(outputs, targets, head, classes):
    """Return the mean squared difference between the similarities of activities and of classes."""
    weight = head["similarity.weight"]
    bias = head.get("similarity.bias", np.zeros(len(weight)))
    if outputs[0].ndim == 3:
        made = [convolve(h, weight, bias) for h in outputs]
        made = [deviations(x) if len(x) > 3 else x.reshape(-1) for x in made]
    else:
        made = [linear(h, weight, bias) for h in outputs]
    wanted = similarities(np.eye(classes)[list(targets)])
    difference = similarities(made) - wanted
    return sum(value**2 for value in difference.reshape(-1)) / difference.size


def prediction_and_similarity(outputs, targets, head, features, classes, beta):
    """Return the paper's mix."""
    pred = prediction(outputs, targets, head, features)
    return (1 - beta) * pred + beta * similarity(outputs, targets, head, classes)


def stretched(x, rows, columns):
    """Return maps at another size, bilinearly, corners on corners."""
    channels, height, width = x.shape
    out = np.zeros((channels, rows, columns))
    for c, i, j in np.ndindex(out.shape):
        row = i * (height - 1) / (rows - 1) if rows > 1 else 0.0
        column = j * (width - 1) / (columns - 1) if columns > 1 else 0.0
        for r in range(height):
            for k in range(width):
                near = max(0.0, 1 - abs(row - r)) * max(0.0, 1 - abs(column - k))
                out[c, i, j] += near * x[c, r, k]
    return out


def reconstruction(outputs, inputs, head, side):
    """Return the mean squared error of what a small decoder makes of the outputs."""
    first = head["decoder1.weight"], head["decoder1.bias"]
    second = head["decoder2.weight"], head["decoder2.bias"]
    if outputs[0].ndim == 3:
        sides = min(side, inputs[0].shape[1]), min(side, inputs[0].shape[2])
        wanted = [averaged(x, *sides) for x in inputs]
        hidden = normalised([convolve(stretched(h, *sides), *first) for h in outputs])
        made = [convolve(np.maximum(h, 0.0), *second) for h in hidden]
    else:
        wanted = [x.reshape(-1) for x in inputs]
        made = [linear(np.maximum(linear(h, *first), 0.0), *second) for h in outputs]
    errors = [(m - w).reshape(-1) ** 2 for m, w in zip(made, wanted, strict=True)]
    return sum(map(sum, errors)) / (len(errors) * errors[0].size)


def information(outputs, inputs, targets, head, features, side, depth, kept, told):
    """Return ``λ₁ reconstruction + λ₂ prediction``, both weights between (first, last) by depth."""
    first, last = (kept[i] for i in (0, 1))
    at_first, at_last = told
    weights = first * (1 - depth) + last * depth, at_first * (1 - depth) + at_last * depth
    again = reconstruction(outputs, inputs, head, side)
    return weights[0] * again + weights[1] * prediction(outputs, targets, head, features)
