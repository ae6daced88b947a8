"""Networks that predict clicks, one number at a time, and a step of Deep & Cross by DFA.

Tables hold a row for each value of each field, one field after another; ``x`` holds the rows that
one sample has.
"""

import math

import numpy as np

EPSILON = 1e-5  # PyTorch's, of batch norms


def factorisation_machine(w0, w, vectors, x):
    """Return ``w_0 + Σ_i w_i + Σ_{i<j} ⟨v_i, v_j⟩`` (Rendle 2010, equation 1)."""
    total = w0 + sum(w[row] for row in x)
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            total += sum(a * b for a, b in zip(vectors[x[i]], vectors[x[j]], strict=True))
    return total


def cross(x0, x, w, b):
    """Return ``x_0 xᵀ w + b + x`` of one sample (Wang et al. 2017, equation 3)."""
    outer = [[a * c for c in x] for a in x0]
    return np.array(
        [
            sum(o * v for o, v in zip(row, w, strict=True)) + b[i] + x[i]
            for i, row in enumerate(outer)
        ]
    )


def interaction(vectors, query, key, value, residual, heads):
    """Return what attention makes of the fields of one sample (Song et al. 2019, eq. 5 to 8)."""
    width = len(query) // heads
    made = []
    for vector in vectors:
        row = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            scores = [float((query[part] @ vector) @ (key[part] @ other)) for other in vectors]
            shares = [math.exp(score - max(scores)) for score in scores]
            found = sum(
                share / sum(shares) * (value[part] @ other)
                for share, other in zip(shares, vectors, strict=True)
            )
            row += list(found)
        made.append([max(0.0, a + b) for a, b in zip(row, residual @ vector, strict=True)])
    return np.array(made)


def logarithmic(vectors, powers, constants):
    """Return ``exp(c_j) Π_i |v_i|^a_ji`` of one sample, ``(neurons, width)``; Cheng 2020."""
    width = len(vectors[0])
    made = np.zeros((len(powers), width))
    for j, row in enumerate(powers):
        for d in range(width):
            product = math.exp(constants[j])
            for power, vector in zip(row, vectors, strict=True):
                product *= abs(vector[d]) ** power
            made[j, d] = product
    return made


def deep_layer(x, weight, bias):
    """Return ReLU(batch norm(W x + b)) of all samples, and what its gradient needs."""
    a = x @ weight.T + bias
    deviation = np.sqrt(a.var(0) + EPSILON)
    normal = (a - a.mean(0)) / deviation
    return np.maximum(normal, 0), (x, normal, deviation)


def through_deep_layer(signal, kept, weight):
    """Return the gradients of the layer's weight, bias, norm and input for a signal behind it."""
    x, normal, deviation = kept
    after = signal * (normal > 0)
    of_scale, of_shift = (after * normal).sum(0), after.sum(0)
    a = (after - after.mean(0) - normal * (after * normal).mean(0)) / deviation
    return {
        "0.weight": a.T @ x,
        "0.bias": a.sum(0),
        "1.weight": of_scale,
        "1.bias": of_shift,
    }, a @ weight


def deep_cross(weights, rows, clicks, crosses, deep, feedback, embedding_alone):
    """Return the gradients of one step of direct feedback alignment.

    Args:
        weights: By their names in the model; batch norms scale by 1 and shift by 0.
        rows: Of the table, ``(n, fields)``.
        clicks: ``(n,)`` 0 and 1.
        crosses: How many cross layers there are.
        deep: How many hidden layers.
        feedback: Width of a block's output to the vector that carries the error to it.
        embedding_alone: Whether the vectors are a block of their own, or learn by what the blocks
            send back that read them.
    """
    n = len(rows)
    table = weights["embedding.table.weight"]
    x0 = table[rows].reshape(n, -1)
    crossed, hidden = [x0], [x0]
    for i in range(crosses):
        w, b = weights[f"cross.{i}.weight.weight"][0], weights[f"cross.{i}.bias"]
        crossed.append(np.stack([cross(a, c, w, b) for a, c in zip(x0, crossed[-1], strict=True)]))
    kept = []
    for i in range(deep):
        found, needed = deep_layer(
            hidden[-1], weights[f"deep.{i}.0.weight"], weights[f"deep.{i}.0.bias"]
        )
        hidden.append(found)
        kept.append(needed)
    read = np.concatenate([crossed[-1], hidden[-1]], 1)
    logits = read @ weights["head.weight"][0] + weights["head.bias"]
    error = (1 / (1 + np.exp(-logits)) - clicks) / n

    gradients = {"head.weight": (error @ read)[None], "head.bias": np.array([error.sum()])}
    to_x0 = np.zeros_like(x0)
    for i in range(crosses):
        w = weights[f"cross.{i}.weight.weight"][0]
        signal = np.outer(error, feedback(x0.shape[1]))
        along = (signal * x0).sum(1)  # of each sample, ⟨signal, x_0⟩
        gradients[f"cross.{i}.weight.weight"] = (along @ crossed[i])[None]
        gradients[f"cross.{i}.bias"] = signal.sum(0)
        to_x0 += signal * (crossed[i] @ w)[:, None]
        if i == 0:  # this layer's input are the vectors too
            to_x0 += np.outer(along, w) + signal
    for i in range(deep):
        signal = np.outer(error, feedback(hidden[i + 1].shape[1]))
        found, to_input = through_deep_layer(signal, kept[i], weights[f"deep.{i}.0.weight"])
        gradients |= {f"deep.{i}.{name}": value for name, value in found.items()}
        if i == 0:
            to_x0 += to_input
    if embedding_alone:
        to_x0 = np.outer(error, feedback(x0.shape[1]))
    of_table = np.zeros_like(table)
    for sample, given in zip(rows, to_x0.reshape(*rows.shape, -1), strict=True):
        for row, value in zip(sample, given, strict=True):
            of_table[row] += value
    return gradients | {"embedding.table.weight": of_table}
