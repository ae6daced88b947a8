"""The figures of the section, as JSON values: one function for each of its parts."""

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
    """What advances a bar as figures are made.

    Attributes:
        progress: Has the bar.
        bar: Its number.
    """

    progress: Progress
    bar: Any

    def done(self, value: T) -> T:
        """Say that one more thing is done, and return it."""
        self.progress.advance(self.bar)
        return value

    def each(self, values: Iterator[T]) -> Iterator[T]:
        """Say so of each value."""
        for value in values:
            yield self.done(value)


def of_training(task: Task, loss: WeightLoss) -> Answer:
    """Return loss and score on training samples."""
    found = evaluate(loss.model, loss.samples, task.loss, task.metric, loss.batch_size)
    return {
        "samples": len(loss.samples),
        "loss": found.loss,
        "score": found.score,
        "metric": task.metric_name,
    }


def of_slope(loss: WeightLoss, bent: WeightLoss) -> Answer:
    """Return whether the loss is level; see `curvature.slope`."""
    found = curvature.slope(loss, bent)
    return in_json({**asdict(found), "gain": found.gain})  # type: ignore[no-any-return]


def of_curvature(
    loss: WeightLoss, count: int, tolerance: float, probes: int, seed: int, shown: Shown
) -> Answer:
    """Return the ends of the Hessian's spectrum and its trace.

    Args:
        loss: Whose Hessian.
        count: Largest eigenvalues.
        tolerance: See `curvature.spectrum`.
        probes: Vectors that estimate the trace.
        seed: Of what is drawn.
        shown: Advances by one, and by one a probe.
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
    """Return the loss along one random direction and on the plane of two.

    Args:
        loss: The loss.
        reach: How far to both sides, in the weights' own length.
        fine: Places of the line.
        coarse: Places of the grid along each direction.
        seed: Of the directions.
        shown: Advances by one a place.
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
    """Return what lies between two networks: losses, scores, and how far they rise and fall."""
    losses, scores = zip(*found, strict=True)
    between = Between(tuple(places), losses, scores)
    return {
        "losses": in_json(list(losses)),
        "scores": in_json(list(scores)),
        "barrier": in_json(between.barrier),
        "drop": in_json(between.drop),
    }


def in_json(value: Any) -> Any:
    """Return JSON values, null in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {name: in_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [in_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
