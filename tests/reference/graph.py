"""Graph convolutions (Kipf and Welling 2017 and others), one node and one number at a time.

``neighbours[i]`` lists the nodes from which an edge leads to node i. A layer is a list of matrices
``W_k`` of shape (inputs, outputs), one a term, and a bias.
"""

import math

import numpy as np


def normalised(neighbours, i):
    """Return the weights ``1 / √(d_i d_j)`` of a node and its neighbours, each node its own too."""
    degree = [len(each) + 1 for each in neighbours]
    return {j: 1 / math.sqrt(degree[i] * degree[j]) for j in [i, *neighbours[i]]}


def gcn(x, neighbours, weights, bias):
    """Return ``y_i = Σ_j 1/√(d_i d_j) W x_j + b``."""
    (weight,) = weights
    rows = [
        sum(share * (x[j] @ weight) for j, share in normalised(neighbours, i).items()) + bias
        for i in range(len(x))
    ]
    return np.array(rows)


def chebyshev(x, neighbours, weights, bias):
    """Return ``y = Σ_k T_k(L) x W_k + b`` by the dense matrix ``L = -D^-½ A D^-½``."""
    n = len(x)
    laplacian = np.zeros((n, n))
    for i in range(n):
        for j in neighbours[i]:
            laplacian[i, j] = -1 / math.sqrt(len(neighbours[i]) * len(neighbours[j]))
    polynomials = [np.eye(n), laplacian]
    while len(polynomials) < len(weights):
        polynomials.append(2 * laplacian @ polynomials[-1] - polynomials[-2])
    return sum(t @ x @ w for t, w in zip(polynomials, weights, strict=False)) + bias


def sage(x, neighbours, weights, bias):
    """Return ``y_i = W_0 mean_j x_j + W_1 x_i + b``."""
    of_neighbours, own = weights
    rows = []
    for i in range(len(x)):
        found = sum((x[j] for j in neighbours[i]), np.zeros(x.shape[1]))
        rows.append(found / max(len(neighbours[i]), 1) @ of_neighbours + x[i] @ own + bias)
    return np.array(rows)


def b_spline(u, place):
    """Return the B-spline of degree 1 over the knots 0 and 1 that is 1 at this knot."""
    return max(0.0, 1 - abs(u - place))


def spline(x, neighbours, weights, bias):
    """Return ``y_i = 1/|N(i)| Σ_j Σ_p B_p(u_ij) W_p x_j + W x_i + b`` (Fey et al. 2018).

    ``u_ij`` is the degree of i over the largest.
    """
    *kernel, own = weights
    largest = max(len(each) for each in neighbours)
    rows = []
    for i in range(len(x)):
        u = len(neighbours[i]) / largest
        total = np.zeros(len(bias))
        for j in neighbours[i]:
            for place, weight in enumerate(kernel):
                total += b_spline(u, place) * (x[j] @ weight)
        rows.append(total / max(len(neighbours[i]), 1) + x[i] @ own + bias)
    return np.array(rows)


def attention(x, neighbours, weight, source, target, bias):
    """Return what one head makes (Veličković et al. 2018, equations 1 to 4)."""
    made = [row @ weight for row in x]
    rows = []
    for i in range(len(x)):
        scores = {}
        for j in [i, *neighbours[i]]:
            value = source @ made[j] + target @ made[i]
            scores[j] = math.exp(value if value > 0 else 0.2 * value)
        total = sum(scores.values())
        rows.append(sum(score / total * made[j] for j, score in scores.items()) + bias)
    return np.array(rows)


def feedback_step(x, neighbours, first, second, feedback, labels):
    """Return the gradients of both layers of a GCN by direct feedback alignment.

    The loss is the mean cross-entropy over the labelled nodes; every other node's error is zero.
    Node i of the hidden layer gets ``e_i B``, its own error and none of its neighbours'.

    Args:
        x: Features, (nodes, inputs).
        neighbours: Of each node.
        first: Weight and bias of the hidden layer, whose activation is ReLU.
        second: Weight and bias of the output layer.
        feedback: B, (classes, hidden).
        labels: A class for each labelled node.

    Returns:
        (weight, bias) of each layer.
    """
    hidden = gcn(x, neighbours, [first[0]], first[1])
    logits = gcn(np.maximum(hidden, 0), neighbours, [second[0]], second[1])
    errors = np.zeros_like(logits)
    for i, label in labels.items():
        powers = np.exp(logits[i] - logits[i].max())
        errors[i] = powers / powers.sum() / len(labels)
        errors[i, label] -= 1 / len(labels)
    found = []
    for before, deltas in (
        (x, [(error @ feedback) * (row > 0) for error, row in zip(errors, hidden, strict=True)]),
        (np.maximum(hidden, 0), list(errors)),
    ):
        weight = np.zeros((before.shape[1], len(deltas[0])))
        for i, delta in enumerate(deltas):
            for j, share in normalised(neighbours, i).items():
                weight += share * np.outer(before[j], delta)
        found.append((weight, sum(deltas)))
    return found
