"""Multi-head attention (Vaswani et al. 2017) of one sequence, and its backward pass by hand.

Projections are ``q = W_q x + b_q`` and so on, ``o = W_o m + b_o``. Errors go back through them by
``B_q``, ``B_k``, ``B_v``, ``B_o``, of the shapes of the weights; where these are the weights, it is
backpropagation. Sequences are ``(length, features)``.
"""

import math

import numpy as np


def projected(xs, weight, bias):
    return np.array([weight @ x + bias for x in xs])


def product_gradients(errors, xs):
    """Return ``Σ δ xᵀ`` and ``Σ δ``."""
    weight = np.zeros((errors.shape[1], xs.shape[1]))
    bias = np.zeros(errors.shape[1])
    for error, x in zip(errors, xs, strict=True):
        weight += np.outer(error, x)
        bias += error
    return weight, bias


def softmax(scores):
    exponentials = [math.exp(s - max(scores)) for s in scores]
    return np.array(exponentials) / sum(exponentials)


def forward(query, key, value, weights, biases, heads, mask):
    """Return the output, and what the backward pass needs.

    Args:
        weights: By the letters q, k, v, o; so are the biases.
        mask: ``(queries, keys)``, added to the scores.
    """
    q = projected(query, weights["q"], biases["q"])
    k = projected(key, weights["k"], biases["k"])
    v = projected(value, weights["v"], biases["v"])
    width = q.shape[1] // heads
    mixed = np.zeros_like(q)
    attention = np.zeros((heads, len(q), len(k)))
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(q)):
            scores = [
                q[i, part] @ k[j, part] / math.sqrt(width) + mask[i, j] for j in range(len(k))
            ]
            attention[head, i] = softmax(scores)
            for j in range(len(k)):
                mixed[i, part] += attention[head, i, j] * v[j, part]
    return projected(mixed, weights["o"], biases["o"]), (q, k, v, attention, mixed)


def backward(query, key, value, kept, errors, feedback, heads):
    """Return the errors behind query, key and value, and weight and bias gradients by letter."""
    q, k, v, attention, mixed = kept
    width = q.shape[1] // heads
    at_q, at_k, at_v = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    at_mixed = np.array([feedback["o"].T @ error for error in errors])
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(q)):
            p = attention[head, i]
            at_p = np.array([at_mixed[i, part] @ v[j, part] for j in range(len(k))])
            for j in range(len(k)):
                at_v[j, part] += p[j] * at_mixed[i, part]
                at_score = p[j] * (at_p[j] - p @ at_p) / math.sqrt(width)
                at_q[i, part] += at_score * k[j, part]
                at_k[j, part] += at_score * q[i, part]
    behind = [
        np.array([feedback[letter].T @ error for error in at])
        for letter, at in (("q", at_q), ("k", at_k), ("v", at_v))
    ]
    gradients = {
        "q": product_gradients(at_q, query),
        "k": product_gradients(at_k, key),
        "v": product_gradients(at_v, value),
        "o": product_gradients(errors, mixed),
    }
    return behind, gradients
