"""Scores of a network beside the task's own: of classes, of labels, of numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def named_scores(outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
    """Return a network's further scores, by name; None where one has no meaning.

    Of classes, outputs ``(n, classes)`` and targets ``(n,)`` or ``(n, 1)`` of whole numbers, these
    are the accuracy and the weighted F1. Of labels, bool targets in the outputs' form, ``(n,)`` or
    ``(n, labels)``, the same: above 0 an output says yes. Of numbers, targets in the outputs' form,
    ``(n,)`` or ``(n, numbers)``, the mean absolute error and Pearson's correlation, of several
    numbers the mean over these. A single column ``(n, 1)`` is as ``(n,)``. Where a number is the
    same in all outputs or in all targets, there is no correlation.

    Args:
        outputs: Of samples.
        targets: Of the same.
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
    """Whether targets are whole numbers, such as classes."""
    return not (targets.is_floating_point() or targets.dtype == torch.bool)


def share(right: Tensor) -> float:
    """Return the share of what is right."""
    return right.double().mean().item()


def weighted_f1(said: Tensor, targets: Tensor, classes: int) -> float:
    """Return the mean of the classes' F1 scores, weighted by how many samples each has.

    Args:
        said: Classes ``(n,)`` int64.
        targets: The same.
        classes: How many there are.
    """
    right = torch.bincount(targets[said == targets], minlength=classes).double()
    of, by = (torch.bincount(each, minlength=classes).double() for each in (targets, said))
    scores = 2 * right / (of + by).clamp(min=1)  # of a class that is never there nor said: 0
    return ((scores * of).sum() / of.sum()).item()


def of_labels(said: Tensor, targets: Tensor) -> float | None:
    """Return the weighted F1 of labels: of one the mean over no and yes, as of two classes; of
    several that of each one's yes, weighted by how many samples have it.

    Args:
        said: ``(n, labels)`` bool.
        targets: The same.

    Returns:
        A number; None where no sample has any of several labels.
    """
    if targets.shape[1] == 1:
        return weighted_f1(said[:, 0].long(), targets[:, 0].long(), 2)
    right, of, by = (each.double().sum(0) for each in (said & targets, targets, said))  # (labels,)
    if not bool(of.any()):
        return None
    scores = 2 * right / (of + by).clamp(min=1)
    return ((scores * of).sum() / of.sum()).item()


def correlation(made: Tensor, asked: Tensor) -> float | None:
    """Return Pearson's correlation, the mean over columns; None where one has none.

    Args:
        made: ``(n, columns)``.
        asked: The same.
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
