"""How far a classifier's confidence can be believed.

Of each forecast there is how sure it was and whether it came true. For several classes the forecast
is that the class named is the right one; for two it may be that class 1 is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited, Section
from beyondprop.audit.logits import logits_of
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.untouched import untouched
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.measure import Column
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count
from beyondprop.tasks import Samples

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]
Binning = Callable[[Numbers, int], Places]
"""How sure forecasts are ``(n,)`` and how many bins, to each one's bin ``(n,)``, from 0."""

BINS = 15
RESAMPLES = 1000
LEVEL = 0.95
BATCH = 1000


def equal_width(sure: Numbers, bins: int) -> Places:
    """Return bins of one width: bin b holds what is above b / bins, up to (b + 1) / bins; the first
    holds 0 too (Naeini et al. 2015; Guo et al. 2017).
    """
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(edges, sure, side="left").astype(np.int64)


def equal_mass(sure: Numbers, bins: int) -> Places:
    """Return bins of as many forecasts each, or one more, in the order of how sure they are."""
    places = np.empty(len(sure), np.int64)
    places[np.argsort(sure, kind="stable")] = np.arange(len(sure))
    return places * bins // len(sure)


@dataclass(frozen=True)
class Forecasts:
    """How sure a classifier was, and what came true.

    Attributes:
        sure: Probability given to each forecast, ``(n,)`` in [0, 1].
        came: Whether it came true, ``(n,)`` bool.

    Raises:
        UserError: There are none, or some are no probabilities.
    """

    sure: Numbers
    came: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not len(self.sure) or self.sure.shape != self.came.shape:
            raise UserError(f"got {len(self.sure)} forecasts and {len(self.came)} outcomes")
        if not ((self.sure >= 0) & (self.sure <= 1)).all():
            raise UserError("forecasts are probabilities, and some are not between 0 and 1")

    @classmethod
    def named(cls, probabilities: Tensor, targets: Tensor) -> Forecasts:
        """Return the forecasts that the class named is right.

        Args:
            probabilities: ``(n, classes)``.
            targets: Classes, ``(n,)`` int64.
        """
        sure, named = probabilities.max(1)
        return cls(_plain(sure), (named == targets).cpu().numpy())

    @classmethod
    def positive(cls, probabilities: Tensor, targets: Tensor) -> Forecasts:
        """Return the forecasts that class 1 is right.

        Args:
            probabilities: Of class 1, ``(n,)``.
            targets: Classes 0 and 1, ``(n,)``.
        """
        return cls(_plain(probabilities), (targets == 1).cpu().numpy())


def reliability(
    forecasts: Forecasts, bins: int = BINS, binning: Binning = equal_width
) -> list[dict[str, Any]]:
    """Return the reliability curve as JSON: of each bin that holds forecasts their "count", how
    sure they were on average ("confidence"), and which share came true ("accuracy").
    """
    counts, sure, came = _sums(forecasts, binning(forecasts.sure, bins), bins)
    return [
        {"count": int(n), "confidence": float(s / n), "accuracy": float(c / n)}
        for n, s, c in zip(counts, sure, came, strict=True)
        if n
    ]


def calibration_error(
    forecasts: Forecasts, bins: int = BINS, binning: Binning = equal_width
) -> float:
    """Return the expected calibration error: the gap between confidence and accuracy of a bin, as a
    mean over all forecasts.

    Naeini, Cooper and Hauskrecht 2015, section 4; Guo et al. 2017, equation 3.
    """
    return _error(forecasts, binning(forecasts.sure, bins), bins)


def greatest_error(forecasts: Forecasts, bins: int = BINS, binning: Binning = equal_width) -> float:
    """Return the maximum calibration error: the greatest gap of a bin (Guo et al. 2017, equation
    5). A bin of few forecasts may decide it.
    """
    found = reliability(forecasts, bins, binning)
    return max(float(abs(each["accuracy"] - each["confidence"])) for each in found)


def brier(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the Brier score of each sample, ``(n,)``; the score is their mean (Brier 1950).

    Args:
        probabilities: ``(n, classes)``, whose squared errors are summed, so that the worst is 2; or
            of class 1 ``(n,)``, whose squared error is half of that.
        targets: Classes, ``(n,)`` int64.
    """
    if probabilities.dim() == 1:
        return (probabilities - targets).square()
    right = F.one_hot(targets, probabilities.shape[1])  # (n, classes)
    return (probabilities - right).square().sum(1)


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Return minus the logarithm of the right class's probability, ``(n,)``, in nats.

    Args:
        logits: ``(n, classes)``.
        targets: Classes, ``(n,)`` int64.
    """
    return F.cross_entropy(logits, targets, reduction="none")


def error_interval(
    forecasts: Forecasts,
    bins: int = BINS,
    binning: Binning = equal_width,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[float]:
    """Return the 95 % interval of the expected calibration error, by the basic bootstrap.

    Chance opens gaps in the bins of a sample, so its error is too great on average, and those of
    the resamples are too great once more by about as much. The basic interval (Davison and Hinkley
    1997, equation 5.6) takes that off, and may lie below the error itself; it ends at 0.
    """
    places = binning(forecasts.sure, bins)

    def of(rows: Places) -> float:
        return _error(Forecasts(forecasts.sure[rows], forecasts.came[rows]), places[rows], bins)

    found = _error(forecasts, places, bins)
    again = [of(rows) for rows in _resampled(len(places), resamples, seed)]
    low, high = np.quantile(again, _tails())
    return [max(0.0, 2 * found - float(high)), max(0.0, 2 * found - float(low))]


def error_by_chance(
    forecasts: Forecasts,
    bins: int = BINS,
    binning: Binning = equal_width,
    draws: int = RESAMPLES,
    seed: int = 0,
) -> list[float]:
    """Return between which expected calibration errors 95 % lie where each forecast comes true as
    often as it says: what so many forecasts show of a perfectly calibrated model (Bröcker and Smith
    2007).
    """
    places, draw = binning(forecasts.sure, bins), np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        came = draw.random(len(places)) < forecasts.sure
        found.append(_error(Forecasts(forecasts.sure, came), places, bins))
    return [float(each) for each in np.quantile(found, _tails())]


def mean_interval(
    values: Tensor | NDArray[Any], resamples: int = RESAMPLES, seed: int = 0
) -> list[float]:
    """Return the 95 % interval of a mean of ``(n,)`` values, by the percentile bootstrap."""
    plain = _plain(values) if isinstance(values, Tensor) else values
    found = [plain[rows].mean() for rows in _resampled(len(plain), resamples, seed)]
    return [float(each) for each in np.quantile(found, _tails())]


@dataclass(frozen=True)
class Calibration(Section):
    """Reliability curve, calibration errors, Brier score and log-likelihood, on the test split.

    Attributes:
        bins: Of the curve and the errors.
        resamples: Of each bootstrap.
    """

    name: ClassVar[str] = "calibration"
    question: ClassVar[str] = "How far can its confidence be believed?"

    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "named.equal_width.error",
            "calibration error",
            "mean distance of confidence from accuracy (expected calibration error)",
            ".3f",
        ),
    )

    bins: Count = BINS
    resamples: Count = RESAMPLES

    def __post_init__(self) -> None:
        check_fields(self)

    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return the curve and the figures.

        Raises:
            UserError: The model tells no classes.
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
    """Return all that there is to say of logits, as JSON.

    Args:
        logits: ``(n, classes)``; see `beyondprop.audit.logits.as_logits` for those of two classes.
        targets: Classes, ``(n,)`` int64.
        bins: Of the curve and the errors.
        resamples: Of each bootstrap.
        seed: Of the bootstrap.
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
    """Return what is found in one sentence."""
    error = answer["named"]["equal_width"]
    low, high = error["interval"]
    gap = answer["confidence"] - answer["accuracy"]
    least, most = error["by_chance"]
    if error["error"] <= most:
        what = f"no more than chance shows of a calibrated model (up to {most:.1%})"
    else:
        kind = "surer than it is right" if gap > 0 else "less sure than it is right"
        what = f"beyond what chance shows of a calibrated model ({least:.1%} to {most:.1%}): {kind}"
    return (
        f"Its confidence, {answer['confidence']:.1%} on average at {answer['accuracy']:.1%} right, "
        f"is off by {error['error']:.1%} (expected calibration error, 95 % interval {low:.1%} to "
        f"{high:.1%}), {what}."
    )


def logits_and_targets(model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor]:
    """Return logits ``(n, classes)`` and targets ``(n,)`` of all samples; the model is left as it
    was.

    Raises:
        UserError: The targets are no classes of the model's.
    """
    logits, targets = [], []
    with untouched(model), exact_gradients(model), torch.no_grad():
        model.eval()
        for inputs, classes in samples.batches(BATCH):
            if not isinstance(classes, Tensor) or classes.dtype != torch.int64 or classes.dim() > 1:
                raise UserError("calibration is of classes, and the targets are none, (n,) int64")
            logits.append(logits_of(model, inputs))
            targets.append(classes)
    found, right = torch.cat(logits), torch.cat(targets)
    if int(right.max()) >= found.shape[1]:
        raise UserError(f"there is a class {int(right.max())}, and {found.shape[1]} logits")
    return found, right


def _described(forecasts: Forecasts, bins: int, resamples: int, seed: int) -> dict[str, Any]:
    """Return curve and errors of both kinds of bins."""
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


def _sums(forecasts: Forecasts, places: Places, bins: int) -> list[NDArray[Any]]:
    """Return of each bin how many forecasts, the sum of how sure they were, how many came true."""
    weights = (None, forecasts.sure, forecasts.came)
    return [np.bincount(places, each, minlength=bins) for each in weights]


def _error(forecasts: Forecasts, places: Places, bins: int) -> float:
    _, sure, came = _sums(forecasts, places, bins)
    return float(np.abs(came - sure).sum() / len(places))


def _resampled(count: int, resamples: int, seed: int) -> Iterator[Places]:
    """Yield rows drawn with replacement, so many times."""
    draw = np.random.default_rng(seed)
    for _ in range(resamples):
        yield draw.integers(count, size=count)


def _tails() -> list[float]:
    return [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


def _plain(values: Tensor) -> Numbers:
    found: Numbers = values.detach().double().cpu().numpy()
    return found
