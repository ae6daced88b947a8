"""The figures of the section as JSON values, one function for each part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from rich.progress import Progress

from beyondprop.audit.base import Answer
from beyondprop.audit.minima import curvature, landscape
from beyondprop.audit.minima.connectivity import Between
from beyondprop.audit.minima.weight_loss import WeightLoss
from beyondprop.measure import evaluate
from beyondprop.tasks import Task

T = TypeVar("T")


@dataclass(frozen=True)
class Shown:
    """Advances a progress bar while figures are computed.

    Attributes:
        progress: Owns the bar.
        bar: The number of the bar.
    """

    progress: Progress
    bar: Any

    def done(self, value: T) -> T:
        """Advance the bar by one, and return the value."""
        self.progress.advance(self.bar)
        return value

    def each(self, values: Iterator[T]) -> Iterator[T]:
        """Yield the values, and advance the bar by one for each."""
        for value in values:
            yield self.done(value)


def of_training(task: Task, loss: WeightLoss) -> Answer:
    """Return the loss and the score on training samples."""
    found = evaluate(loss.model, loss.samples, task.loss, task.metric, loss.batch_size)
    return {
        "samples": len(loss.samples),
        "loss": found.loss,
        "score": found.score,
        "metric": task.metric_name,
    }


def of_slope(loss: WeightLoss, bent: WeightLoss) -> Answer:
    """Return the step along the gradient; see `curvature.slope`."""
    found = curvature.slope(loss, bent)
    return in_json({**asdict(found), "gain": found.gain})  # type: ignore[no-any-return]


def of_curvature(
    loss: WeightLoss, count: int, tolerance: float, probes: int, seed: int, shown: Shown
) -> Answer:
    """Return the extreme eigenvalues of the Hessian and its trace.

    Args:
        loss: The loss.
        count: Number of largest eigenvalues.
        tolerance: See `curvature.spectrum`.
        probes: Number of vectors for the estimate of the trace.
        seed: Seed of all draws.
        shown: Advances by one for the eigenvalues and by one for each vector.
    """
    ends = shown.done(curvature.spectrum(loss.product, loss.count, count, tolerance, seed))
    quadratics = curvature.quadratics(loss.product, loss.count, probes, seed)
    return {
        "largest": list(ends.largest),
        "smallest": ends.smallest,
        "products": ends.products,
        "trace": asdict(curvature.mean(list(shown.each(quadratics)))),
    }


def of_sharpness(
    loss: WeightLoss, radius: float, directions: int, seed: int, shown: Shown
) -> Answer:
    """Return the mean rise of the loss at a distance; see `landscape.rises`."""
    found = list(shown.each(landscape.rises(loss, radius, directions, seed)))
    return {"radius": radius, **in_json(asdict(curvature.mean(found)))}


def of_landscape(
    loss: WeightLoss, reach: float, fine: int, coarse: int, seed: int, shown: Shown
) -> Answer:
    """Return the loss along one random direction and on the plane of two directions.

    Args:
        loss: The loss.
        reach: Distance to both sides, in units of the weights' own length.
        fine: Number of positions on the line.
        coarse: Number of grid positions along each direction.
        seed: Seed of the directions.
        shown: Advances by one for each position.
    """
    generator = torch.Generator().manual_seed(seed)
    ways = tuple(landscape.direction(loss.weights, generator) for _ in range(2))
    along, across = (torch.linspace(-reach, reach, count).tolist() for count in (fine, coarse))
    line = list(shown.each(landscape.line(loss, ways[0], along)))
    plane = list(shown.each(landscape.plane(loss, (ways[0], ways[1]), across)))
    rows = [plane[i : i + coarse] for i in range(0, len(plane), coarse)]
    return {
        "line": {"places": along, "losses": in_json(line)},
        "plane": {"places": across, "losses": in_json(rows)},
    }


def of_line(places: Sequence[float], found: Sequence[tuple[float, float]]) -> Answer:
    """Return the losses and scores between two networks, and their maximum rise and fall."""
    losses, scores = zip(*found, strict=True)
    between = Between(tuple(places), losses, scores)
    return {
        "losses": in_json(list(losses)),
        "scores": in_json(list(scores)),
        "barrier": in_json(between.barrier),
        "drop": in_json(between.drop),
    }


def in_json(value: Any) -> Any:
    """Return JSON values, with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: in_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [in_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
