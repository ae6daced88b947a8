"""The score of a model on a split of a data set."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.engine.untouched import device_of, untouched
from beyondprop.errors import UserError
from beyondprop.measure.base import (
    Column,
    Figures,
    Measure,
    MeasureTraits,
    Subject,
    given,
    model_of,
)
from beyondprop.tasks import Metric, Samples, call
from beyondprop.tasks.samples import moved

BATCH = 1000
"""Samples per batch."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of a model on a split.

    Attributes:
        score: The metric over all samples; higher is better.
        loss: The loss over all samples.
        confusion: Number of samples by class and prediction, see `confusion`; None if outputs and
            targets are not a classification of samples.
    """

    score: float
    loss: float
    confusion: Tensor | None


def evaluate(
    model: nn.Module,
    split: Samples,
    loss: Callable[[Any, Any], Tensor],
    metric: Metric,
    batch_size: int,
) -> Evaluation:
    """Score (accuracy or the task's own metric), loss and confusion matrix on a split.

    The model runs in eval mode and without gradients, and is left unchanged. Loss and metric
    receive all outputs together, so they are exact whatever they compute (a ranking, a weighted
    mean), and the batch size affects only memory and speed. If the shapes of outputs or targets
    differ between batches (padded texts with a target for each word), they cannot be concatenated:
    the result is then the mean over batches, weighted by their number of samples.

    Args:
        model: Maps a batch's inputs to outputs ``(batch, ...)``; see `tasks.call`.
        split: The samples; moved to the model's device batch by batch.
        loss: (outputs, targets) to a scalar.
        metric: (outputs, targets) to the mean score: a number, or a tensor or array with one
            number.
        batch_size: Samples per batch.

    Raises:
        UserError: The batch size is not positive; the metric or the loss is not one number.
    """
    if batch_size < 1:
        raise UserError(f"the batch size of an evaluation must be at least 1, not {batch_size}")
    device = device_of(model, split.device)
    with untouched(model), torch.no_grad():
        model.eval()
        made = []
        for batch in split.batches(batch_size):
            inputs, targets = moved(batch, device)
            made.append((call(model, inputs), targets))
        together = _together(made)
        sizes = [len(split)] if together else _sizes(len(split), batch_size)
        made = [together] if together else made
        one = len(made) == 1 and _classifies(*made[0])
        return Evaluation(
            score=_mean("metric", metric, made, sizes),
            loss=_mean("loss", loss, made, sizes),
            confusion=confusion(*made[0]) if one else None,
        )


def _together(batches: Sequence[tuple[Any, Any]]) -> tuple[Any, Any] | None:
    """Return the outputs and targets of all batches, concatenated, or None if that is not possible.

    A container is concatenated only if each of its tensors has a row for each target.
    """
    found = [list(leaves(batch)) for batch in batches]
    contained = not all(isinstance(each, Tensor) for each in batches[0])
    for tensors, batch in zip(found, batches, strict=True):
        if len(tensors) != len(found[0]) or not all(each.dim() for each in tensors):
            return None
        rows = len(next(leaves(batch[1]), tensors[0]))
        if contained and any(len(each) != rows for each in tensors):
            return None
    whole = {}
    for parts in zip(*found, strict=True):
        if any(part.shape[1:] != parts[0].shape[1:] for part in parts):
            return None
        whole[id(parts[0])] = torch.cat(parts)
    made: tuple[Any, Any] = replaced(tuple(batches[0]), lambda x: whole[id(x)])
    return made


def _sizes(samples: int, size: int) -> list[int]:
    return [min(size, samples - begin) for begin in range(0, samples, size)]


def _mean(
    name: str,
    function: Callable[[Any, Any], object],
    batches: Sequence[tuple[Any, Any]],
    sizes: Sequence[int],
) -> float:
    """Return a figure as the mean over batches, weighted by their numbers of samples."""
    found = [_number(name, function(*batch)) for batch in batches]
    if len(found) == 1:
        return found[0]
    return sum(each * size for each, size in zip(found, sizes, strict=True)) / sum(sizes)


class AccuracyMeasure(Measure):
    """Score, loss and confusion matrix on samples that nothing is fitted to.

    Known answers: the same under every rule, as rules do not change the forward pass; every sample
    is counted once.
    """

    name = "accuracy"
    title = "Score on held-out samples"
    about = (
        "The task's metric on samples that are neither training nor test samples, with the weights"
        " at the end of training."
    )
    traits = MeasureTraits(frozenset({"held_out", "loss", "metric"}))
    columns = (
        Column("held_out_score", "held-out score", "on validation samples", ".4f"),
        Column("held_out_loss", "held-out loss", "on validation samples", ".3g"),
    )

    def run(self, subject: Subject) -> Figures:
        """Return score and loss, and the confusion matrix for a classification."""
        split = given(subject.held_out, "samples")
        loss, metric = given(subject.loss, "a loss"), given(subject.metric, "a metric")
        found = evaluate(model_of(subject), split, loss, metric, BATCH)
        counts = None if found.confusion is None else found.confusion.tolist()
        return Figures(
            values={"held_out_score": found.score, "held_out_loss": found.loss},
            details={"confusion": counts},
        )

    def contradictions(self, subject: Subject, figures: Figures) -> Iterator[str]:
        """The confusion matrix counts every sample once."""
        counts = figures.details["confusion"]
        samples = len(given(subject.held_out, "samples"))
        if counts is not None and sum(map(sum, counts)) > samples:
            yield f"{sum(map(sum, counts))} of {samples} samples are counted"


def confusion(outputs: Tensor, targets: Tensor) -> Tensor:
    """Count the samples of each class by the class with the largest output.

    Args:
        outputs: Scores or logits, ``(n, classes)``.
        targets: Classes, ``(n,)`` whole numbers; values that are not a class (such as the ``-100``
            that `cross_entropy` ignores) are left out.

    Returns:
        Shape ``(classes, classes)``, int64, on the CPU: rows are the true classes, columns the
        predictions.
    """
    classes = outputs.shape[1]
    counted = (targets >= 0) & (targets < classes)
    pairs = targets[counted] * classes + outputs[counted].argmax(dim=1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()


def _number(name: str, value: object) -> float:
    """Return a plain float, because records and checkpoints cannot store scalars of NumPy or
    PyTorch.
    """
    if isinstance(value, Tensor | np.ndarray | np.generic):
        if math.prod(value.shape) != 1:
            shape = tuple(value.shape)
            raise UserError(f"the {name} must give one number, not numbers of shape {shape}")
        value = value.item()
    if not isinstance(value, Real):
        raise UserError(f"the {name} must give one number, not a {type(value).__name__}")
    return float(value)


def _classifies(outputs: Any, targets: Any) -> bool:
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return False
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    return outputs.ndim == 2 and outputs.shape[1] > 1 and targets.ndim == 1 and whole
