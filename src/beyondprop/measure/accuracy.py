"""How well a model does on a split of a data set."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn

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
from beyondprop.tasks import Metric, Split

BATCH = 1000
"""Samples that a model sees at a time."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model scores on a split.

    Attributes:
        score: The metric over all samples; higher is better.
        loss: The loss over all samples.
        confusion: Samples counted by class and prediction, see `confusion`; None where outputs and
            targets are no classification of samples.
    """

    score: float
    loss: float
    confusion: Tensor | None


def evaluate(
    model: nn.Module,
    split: Split,
    loss: Callable[[Tensor, Tensor], Tensor],
    metric: Metric,
    batch_size: int,
) -> Evaluation:
    """Score (accuracy or the task's own metric), loss and confusion matrix on a split.

    The model runs in eval mode and without gradients, and is left as it was found. Loss and metric
    see all outputs at once, so they are exact for whatever they compute (a ranking, a weighted
    mean), and the size of the batches decides on memory and speed alone.

    Args:
        model: From inputs ``(batch, ...)`` to outputs ``(batch, ...)``.
        split: The samples; moved to the model's device batch by batch.
        loss: (outputs, targets) to a scalar.
        metric: (outputs, targets) to the mean score: a number, or a tensor or array of one.
        batch_size: Samples at a time.

    Raises:
        UserError: The batch size is not positive; the metric or the loss is not one number.
    """
    if batch_size < 1:
        raise UserError(f"the batch size of an evaluation must be at least 1, not {batch_size}")
    device = device_of(model, split.inputs)
    with untouched(model), torch.no_grad():
        model.eval()
        batches = split.inputs.split(batch_size)
        outputs = torch.cat([model(inputs.to(device)) for inputs in batches])
        targets = split.targets.to(device)
        return Evaluation(
            score=_number("metric", metric(outputs, targets)),
            loss=_number("loss", loss(outputs, targets)),
            confusion=confusion(outputs, targets) if _classifies(outputs, targets) else None,
        )


class AccuracyMeasure(Measure):
    """Score, loss and confusion matrix on samples that nothing is fitted to.

    Known answers: the same whatever rule is attached, as rules leave the forward pass alone; every
    sample is counted once.
    """

    name = "accuracy"
    title = "Score on held-out samples"
    about = (
        "The task's metric on samples that are not trained on and are not the test samples, with"
        " the weights as they are at the end of training."
    )
    traits = MeasureTraits(frozenset({"held_out", "loss", "metric"}))
    columns = (
        Column("held_out_score", "held-out score", "on validation samples", ".4f"),
        Column("held_out_loss", "held-out loss", "on validation samples", ".3g"),
    )

    def run(self, subject: Subject) -> Figures:
        """Return score and loss, and the confusion matrix of a classification."""
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
        targets: Classes, ``(n,)`` whole numbers; those that are no class (as the ``-100`` that
            `cross_entropy` ignores) are left out.

    Returns:
        Shape ``(classes, classes)``, int64, on the CPU: rows are the true classes, columns the
        predictions.
    """
    classes = outputs.shape[1]
    counted = (targets >= 0) & (targets < classes)
    pairs = targets[counted] * classes + outputs[counted].argmax(dim=1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()


def _number(name: str, value: object) -> float:
    """Return a plain float: what NumPy or PyTorch return cannot go into a record or a
    checkpoint.
    """
    if isinstance(value, Tensor | np.ndarray | np.generic):
        if math.prod(value.shape) != 1:
            shape = tuple(value.shape)
            raise UserError(f"the {name} must give one number, not numbers of shape {shape}")
        value = value.item()
    if not isinstance(value, Real):
        raise UserError(f"the {name} must give one number, not a {type(value).__name__}")
    return float(value)


def _classifies(outputs: Tensor, targets: Tensor) -> bool:
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    return outputs.ndim == 2 and outputs.shape[1] > 1 and targets.ndim == 1 and whole
