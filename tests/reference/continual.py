"""Methods against forgetting, slowly, from the papers, for a linear softmax classifier."""

import math

import torch
from torch import Tensor


def softmax_gradient(weight: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy of ``inputs @ weight.T``."""
    total = torch.zeros_like(weight)
    for x, y in zip(inputs, targets, strict=True):
        p = (weight @ x).softmax(0)
        p[y] -= 1
        total += torch.outer(p, x)
    return total / len(inputs)


def fisher_of_linear(weight: Tensor, inputs: Tensor) -> Tensor:
    """Return the expected squared gradient of the log likelihood, over labels of the model."""
    total = torch.zeros_like(weight)
    for x in inputs:
        p = (weight @ x).softmax(0)
        for y in range(len(p)):
            g = -p.clone()
            g[y] += 1
            total += p[y] * torch.outer(g, x).square()
    return total / len(inputs)


def dark_loss(
    new: Tensor,
    targets: Tensor,
    dark: Tensor,
    logits: Tensor,
    labelled: Tensor,
    labels: Tensor,
    alpha: float,
    beta: float,
) -> float:
    """Return DER++'s loss, number by number."""

    def entropy(outputs: Tensor, wanted: Tensor) -> float:
        found = [
            math.log(sum(math.exp(v) for v in row.tolist())) - row[y].item()
            for row, y in zip(outputs, wanted.tolist(), strict=True)
        ]
        return sum(found) / len(found)

    pairs = zip(dark.flatten().tolist(), logits.flatten().tolist(), strict=True)
    away = [(a - b) ** 2 for a, b in pairs]
    return entropy(new, targets) + alpha * sum(away) / len(away) + beta * entropy(labelled, labels)


def intelligence(
    starts: list[Tensor], gradients: list[Tensor], end: Tensor, damping: float
) -> Tensor:
    """Return Ω of one experience: weights before each step, the gradients, and the last weights."""
    path = torch.zeros_like(end)
    for number, (before, gradient) in enumerate(zip(starts, gradients, strict=True)):
        after = starts[number + 1] if number + 1 < len(starts) else end
        path = path - gradient * (after - before)
    return path.clamp(min=0) / ((end - starts[0]) ** 2 + damping)


def transfer(before: list[float], rows: list[list[float]]) -> dict[str, float]:
    """Return the measures of a matrix by their definitions."""
    count = len(rows)
    forgetting = backward = forward = 0.0
    for j in range(count - 1):
        best = max(rows[i][j] for i in range(j, count - 1))
        forgetting += best - rows[count - 1][j]
        backward += rows[count - 1][j] - rows[j][j]
        forward += rows[j][j + 1] - before[j + 1]
    return {
        "average": sum(rows[count - 1]) / count,
        "forgetting": forgetting / (count - 1),
        "backward_transfer": backward / (count - 1),
        "forward_transfer": forward / (count - 1),
    }
