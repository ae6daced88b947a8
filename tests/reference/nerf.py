"""Neural radiance fields (Mildenhall et al. 2020), one ray, sample and number after another."""

import math


def encoded(x, frequencies):
    """x, then sin(2^k x_d) for each k and d, then the cosines (of one point, a list)."""
    angles = [2**k * each for k in range(frequencies) for each in x]
    return [*x, *map(math.sin, angles), *map(math.cos, angles)]


def weights(density, depths, far):
    """T_i (1 - exp(-σ_i δ_i)) of one ray; T_i is what no sample before has absorbed."""
    ends = [*depths[1:], far]
    through, found = 1.0, []
    for sigma, begin, end in zip(density, depths, ends, strict=True):
        alpha = 1 - math.exp(-sigma * (end - begin))
        found.append(through * alpha)
        through *= 1 - alpha
    return found


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def colour(raw, depths, far):
    """The colour of one ray, of (density, r, g, b) of each sample, before white."""
    density = [softplus(each[0] - 1) for each in raw]
    found, left = [0.0, 0.0, 0.0], 1.0
    for weight, (_, *rgb) in zip(weights(density, depths, far), raw, strict=True):
        left -= weight
        found = [old + weight * sigmoid(new) for old, new in zip(found, rgb, strict=True)]
    return [each + left for each in found]


def inverse_transform(weights, u):
    """Where the distribution function, linear in each of as many parts of [0, 1], reaches u."""
    raised = [each + 1e-5 for each in weights]
    shares = [each / sum(raised) for each in raised]
    below = 0.0
    for part, share in enumerate(shares):
        if u <= below + share or part == len(shares) - 1:
            return (part + (u - below) / share) / len(shares)
        below += share
    raise AssertionError


def linear(layer, x):
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [
        sum(w * each for w, each in zip(row, x, strict=True)) + b
        for row, b in zip(weight, bias, strict=True)
    ]


def relu(x):
    return [max(each, 0.0) for each in x]


def of_point(model, point, direction):
    """(density, r, g, b) of one point, by the layers of a `RadianceField`."""
    position = encoded(point, 10)
    h = position
    for place, layer in enumerate(model.trunk):
        h = relu(linear(layer[0], h))
        if place == model.skip:
            h = [*position, *h]
    seen = [*linear(model.feature, h), *encoded(direction, 4)]
    return [*linear(model.density, h), *linear(model.rgb, relu(linear(model.colour[0], seen)))]


def rendered(model, ray):
    """The colour of one ray in eval mode, and the depths of its samples."""
    origin, direction = ray[:3], ray[3:]
    length = model.far - model.near

    def at(depth):
        return [o + depth * d for o, d in zip(origin, direction, strict=True)]

    depths = [model.near + length * (i + 0.5) / model.coarse for i in range(model.coarse)]
    if model.fine:
        density = [softplus(of_point(model, at(t), direction)[0] - 1) for t in depths]
        shares = weights(density, depths, model.far)
        places = [inverse_transform(shares, (j + 0.5) / model.fine) for j in range(model.fine)]
        depths = sorted([*depths, *(model.near + length * each for each in places)])
    raw = [of_point(model, at(t), direction) for t in depths]
    return colour(raw, depths, model.far), depths
