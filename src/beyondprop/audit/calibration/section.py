"""The audit section on calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited, Section
from beyondprop.audit.calibration.bins import BINS, Binning, equal_mass, equal_width
from beyondprop.audit.calibration.error import calibration_error, greatest_error, reliability
from beyondprop.audit.calibration.forecasts import Forecasts
from beyondprop.audit.calibration.intervals import (
    RESAMPLES,
    error_by_chance,
    error_interval,
    mean_interval,
)
from beyondprop.audit.calibration.scores import brier, negative_log_likelihood
from beyondprop.audit.logits import logits_of
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.untouched import untouched
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.measure import Column
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count
from beyondprop.tasks import Samples

BATCH = 1000


@dataclass(frozen=True)
class Calibration(Section):
    """Reliability curve, calibration errors, Brier score and log-likelihood, on the test split.

    Attributes:
        bins: Number of bins of the curve and the errors.
        resamples: Number of resamples of each bootstrap.
    """

    name: ClassVar[str] = "calibration"
    question: ClassVar[str] = "How reliable is its confidence?"

    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "named.equal_width.error",
            "calibration error",
            "mean distance between confidence and accuracy (expected calibration error)",
            ".3f",
        ),
    )

    bins: Count = BINS
    resamples: Count = RESAMPLES

    def __post_init__(self) -> None:
        check_fields(self)

    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return the reliability curve and the figures.

        Raises:
            UserError: The model is not a classifier.
        """
        shown = f"{audited.name} · seed {audited.seed} · calibration"
        with bar(progress, shown, 2) as task:
            logits, targets = logits_and_targets(audited.build(), audited.data.test)
            progress.advance(task)
            answer = calibration(logits, targets, self.bins, self.resamples, audited.seed)
        return answer | {"verdict": verdict(answer)}


def calibration(
    logits: Tensor,
    targets: Tensor,
    bins: int = BINS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the calibration figures of logits, as JSON.

    Args:
        logits: ``(n, classes)``; for two classes `beyondprop.audit.logits.as_logits` converts
            outputs.
        targets: Classes, ``(n,)`` int64.
        bins: Number of bins of the curve and the errors.
        resamples: Number of resamples of each bootstrap.
        seed: Seed of the bootstrap.
    """
    logits = logits.double()
    probabilities = logits.softmax(1)  # (n, classes)
    named = Forecasts.named(probabilities, targets)
    positive = None
    if logits.shape[1] == 2:
        forecasts = Forecasts.positive(probabilities[:, 1], targets)
        positive = _described(forecasts, bins, resamples, seed)
    scores = {
        "brier": brier(probabilities, targets),
        "nll": negative_log_likelihood(logits, targets),
    }
    return {
        "samples": len(targets),
        "accuracy": float(named.came.mean()),
        "confidence": float(named.sure.mean()),
        "named": _described(named, bins, resamples, seed),
        "positive": positive,
        **{
            name: {"value": each.mean().item(), "interval": mean_interval(each, resamples, seed)}
            for name, each in scores.items()
        },
    }


def verdict(answer: Answer) -> str:
    """Return the answer in one sentence."""
    error = answer["named"]["equal_width"]
    low, high = error["interval"]
    gap = answer["confidence"] - answer["accuracy"]
    least, most = error["by_chance"]
    if error["error"] <= most:
        what = f"no more than a calibrated model shows by chance (up to {most:.1%})"
    else:
        kind = "overconfident" if gap > 0 else "underconfident"
        chance = f"a calibrated model shows by chance ({least:.1%} to {most:.1%})"
        what = f"more than {chance}; it is {kind}"
    return (
        f"Its confidence averages {answer['confidence']:.1%} at an accuracy of "
        f"{answer['accuracy']:.1%}. The expected calibration error is {error['error']:.1%} (95 % "
        f"interval {low:.1%} to {high:.1%}), {what}."
    )


def logits_and_targets(model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor]:
    """Return the logits ``(n, classes)`` and the targets ``(n,)`` of all samples. The model is left
    unchanged.

    Raises:
        UserError: The targets are not classes of the model.
    """
    logits, targets = [], []
    with untouched(model), exact_gradients(model), torch.no_grad():
        model.eval()
        for inputs, classes in samples.batches(BATCH):
            if not isinstance(classes, Tensor) or classes.dtype != torch.int64 or classes.dim() > 1:
                raise UserError("calibration needs classes as targets, (n,) int64")
            logits.append(logits_of(model, inputs))
            targets.append(classes)
    found, right = torch.cat(logits), torch.cat(targets)
    if int(right.max()) >= found.shape[1]:
        raise UserError(f"there is a class {int(right.max())}, but only {found.shape[1]} logits")
    return found, right


def _described(forecasts: Forecasts, bins: int, resamples: int, seed: int) -> dict[str, Any]:
    """Return the curve and the errors for both kinds of bins."""
    binnings: dict[str, Binning] = {"equal_width": equal_width, "equal_mass": equal_mass}
    return {
        name: {
            "curve": reliability(forecasts, bins, each),
            "error": calibration_error(forecasts, bins, each),
            "interval": error_interval(forecasts, bins, each, resamples, seed),
            "by_chance": error_by_chance(forecasts, bins, each, resamples, seed),
            "greatest": greatest_error(forecasts, bins, each),
        }
        for name, each in binnings.items()
    }
