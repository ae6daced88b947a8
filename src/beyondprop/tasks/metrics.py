"""Scores of outputs against targets; higher is better."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from beyondprop.errors import UserError

Metric = Callable[[Any, Any], float]
"""(outputs, targets) of n samples to their mean score; higher is better."""


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Return the share of samples whose largest output is their class, in [0, 1].

    Args:
        outputs: Scores or logits, (n, classes).
        targets: Classes, (n,) int64.

    Raises:
        UserError: The shapes do not match; they would otherwise broadcast to a wrong figure.
    """
    if outputs.ndim != 2 or targets.shape != outputs.shape[:1]:
        raise UserError(
            "accuracy needs outputs (n, classes) and targets (n,), "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)}; give the task its own metric"
        )
    return (outputs.argmax(dim=1) == targets).double().mean().item()


def auc(outputs: Tensor, targets: Tensor) -> float:
    """Return the area under the ROC curve: how often a positive's output is above a negative's.

    A tie counts one half, so constant outputs have 0.5.

    Args:
        outputs: Scores or logits, ``(n,)``.
        targets: Which samples are positive, ``(n,)`` bool or 0 and 1.

    Raises:
        UserError: The shapes do not match, or all samples are of one kind.
    """
    from scipy.stats import rankdata

    if outputs.ndim != 1 or outputs.shape != targets.shape:
        raise UserError(
            f"AUC needs outputs and targets (n,), got {tuple(outputs.shape)} and "
            f"{tuple(targets.shape)}; give the task its own metric"
        )
    positive = (targets > 0.5 if targets.is_floating_point() else targets.bool()).cpu().numpy()
    here = int(positive.sum())
    pairs = here * (len(positive) - here)
    if not pairs:
        raise UserError("AUC is undefined if all samples are of one kind; use another metric")
    ranks = rankdata(outputs.detach().double().cpu().numpy())  # from 1; of ties their mean
    return float((ranks[positive].sum() - here * (here + 1) / 2) / pairs)


def r_squared(outputs: Tensor, targets: Tensor) -> float:
    """Return R², the share of the targets' variance that is explained; 1 at best, 0 for their mean.

    For several values per sample it is the mean over the values that vary.

    Args:
        outputs: ``(n,)`` or ``(n, k)``.
        targets: The same number of values, ``(n,)`` or ``(n, k)``.

    Raises:
        UserError: The shapes do not match, or no target varies.
    """
    if outputs.numel() != targets.numel() or outputs.shape[:1] != targets.shape[:1]:
        raise UserError(
            "R² needs one output for each target, "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)}; give the task its own metric"
        )
    wanted = targets.double().flatten(1) if targets.dim() > 1 else targets.double().unsqueeze(1)
    rest = (wanted - outputs.double().reshape(wanted.shape)).square().sum(0)  # (k,)
    whole = (wanted - wanted.mean(0)).square().sum(0)
    varies = whole > 0
    if not varies.any():
        raise UserError("R² is undefined if all targets are the same; use another metric")
    return (1 - rest[varies] / whole[varies]).mean().item()


def negative_mae(outputs: Tensor, targets: Tensor) -> float:
    """Return the mean absolute error, negative so that higher is better; 0 at best.

    Args:
        outputs: ``(n,)`` or ``(n, k)``.
        targets: The same number of values, ``(n,)`` or ``(n, k)``.

    Raises:
        UserError: The shapes do not match.
    """
    if outputs.numel() != targets.numel() or outputs.shape[:1] != targets.shape[:1]:
        raise UserError(
            "the mean absolute error needs one output for each target, "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)}; give the task its own metric"
        )
    error = outputs.double().reshape(targets.shape) - targets.double()
    return -error.abs().mean().item()


def psnr(outputs: Tensor, targets: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB, −10 log10 of the mean squared error.

    Without any error it is 100.

    Args:
        outputs: Colours in [0, 1], of any shape.
        targets: Colours of the same shape.

    Raises:
        UserError: The shapes do not match.
    """
    if outputs.shape != targets.shape:
        raise UserError(
            "PSNR needs outputs and targets of one shape, "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)}; give the task its own metric"
        )
    error = (outputs.double() - targets.double()).square().mean().item()
    return -10 * math.log10(max(error, 1e-10))


def macro_f1(outputs: Tensor, targets: Tensor) -> float:
    """Return the mean F1 over labels, in [0, 1]; an output above zero predicts a label.

    Labels that no sample has and that are never predicted are left out.

    Args:
        outputs: Logits, ``(n, k)``.
        targets: Which labels each sample has, ``(n, k)`` bool or 0 and 1.

    Raises:
        UserError: The shapes do not match.
    """
    if outputs.ndim != 2 or outputs.shape != targets.shape:
        raise UserError(
            "macro-F1 needs outputs and targets (n, labels), "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)}; give the task its own metric"
        )
    said, true = outputs > 0, targets > 0.5 if targets.is_floating_point() else targets.bool()
    both = (said & true).sum(0).double()
    either = (said.sum(0) + true.sum(0)).double()
    counted = either > 0
    return (2 * both[counted] / either[counted]).mean().item() if counted.any() else 1.0
