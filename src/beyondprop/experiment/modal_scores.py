"""Scores of a network in addition to the task's metric, for classes, labels and numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def named_scores(outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
    """Return a network's additional scores, by name; None if a score is undefined.

    - Classes: outputs ``(n, classes)``, integer targets ``(n,)`` or ``(n, 1)``. The scores are
      accuracy and weighted F1.
    - Labels: bool targets in the shape of the outputs, ``(n,)`` or ``(n, labels)``. The scores are
      the same; an output above 0 predicts the label.
    - Numbers: targets in the shape of the outputs, ``(n,)`` or ``(n, numbers)``. The scores are the
      mean absolute error and Pearson's correlation, each averaged over the numbers. The correlation
      is undefined if a number is constant in all outputs or in all targets.

    A single column ``(n, 1)`` is treated as ``(n,)``.

    Args:
        outputs: The network's outputs for samples.
        targets: The targets of the same samples.
    """
    classes = outputs.shape[1] if outputs.dim() == 2 else 1
    if classes > 1 and targets.numel() == len(outputs) and whole(targets):
        said, asked = outputs.argmax(1), targets.flatten()  # (n,)
        return {"accuracy": share(said == asked), "weighted_f1": weighted_f1(said, asked, classes)}
    if outputs.dim() > 2 or outputs.numel() != targets.numel() or whole(targets):
        return {}
    made, asked = (each.reshape(len(outputs), -1) for each in (outputs, targets))  # (n, columns)
    if targets.dtype == torch.bool:
        return {"accuracy": share((made > 0) == asked), "weighted_f1": of_labels(made > 0, asked)}
    return {
        "mean_absolute_error": (made.double() - asked.double()).abs().mean().item(),
        "correlation": correlation(made, asked),
    }


def whole(targets: Tensor) -> bool:
    """Whether targets are integers, such as classes."""
    return not (targets.is_floating_point() or targets.dtype == torch.bool)


def share(right: Tensor) -> float:
    """Return the share of True values."""
    return right.double().mean().item()


def weighted_f1(said: Tensor, targets: Tensor, classes: int) -> float:
    """Return the mean of the classes' F1 scores, weighted by the number of samples of each class.

    Args:
        said: Predicted classes, ``(n,)`` int64.
        targets: True classes, ``(n,)`` int64.
        classes: Number of classes.
    """
    right = torch.bincount(targets[said == targets], minlength=classes).double()
    of, by = (torch.bincount(each, minlength=classes).double() for each in (targets, said))
    scores = 2 * right / (of + by).clamp(min=1)  # 0 for a class that is never true or predicted
    return ((scores * of).sum() / of.sum()).item()


def of_labels(said: Tensor, targets: Tensor) -> float | None:
    """Return the weighted F1 of labels.

    A single label is scored as two classes, no and yes. For several labels it is the mean of their
    F1 scores, weighted by the number of samples that have each label.

    Args:
        said: Predicted labels, ``(n, labels)`` bool.
        targets: True labels, ``(n, labels)`` bool.

    Returns:
        The score; None if there are several labels and no sample has any.
    """
    if targets.shape[1] == 1:
        return weighted_f1(said[:, 0].long(), targets[:, 0].long(), 2)
    right, of, by = (each.double().sum(0) for each in (said & targets, targets, said))  # (labels,)
    if not bool(of.any()):
        return None
    scores = 2 * right / (of + by).clamp(min=1)
    return ((scores * of).sum() / of.sum()).item()


def correlation(made: Tensor, asked: Tensor) -> float | None:
    """Return Pearson's correlation, averaged over columns; None if a column has none.

    Args:
        made: Outputs, ``(n, columns)``.
        asked: Targets, ``(n, columns)``.
    """
    pair = made.double(), asked.double()
    if any(bool((each == each[:1]).all(0).any()) or not each.isfinite().all() for each in pair):
        return None
    one, other = (each - each.mean(0) for each in pair)
    lengths = one.norm(dim=0) * other.norm(dim=0)  # (columns,)
    if not bool((lengths > 0).all()):
        return None
    found: float = ((one * other).sum(0) / lengths).clamp(-1, 1).mean().item()
    return found
