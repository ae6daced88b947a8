"""How good a minimum a rule has found: the section of the audit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited, Section, some
from beyondprop.audit.minima import connectivity, curvature, landscape
from beyondprop.audit.minima.choices import SCORES, summary, switches
from beyondprop.audit.minima.weight_loss import WeightLoss
from beyondprop.engine.untouched import device_of
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.measure import Column, evaluate
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, Positive
from beyondprop.slots import Machine, machine_of

T = TypeVar("T")
NOTHING = 0.01
"""A step along the gradient that takes less than this share of the loss leaves it as it was."""


@dataclass(frozen=True)
class Minima(Section):
    """How good a minimum did it find?

    Attributes:
        samples: Of the training split, for curvature and landscape.
        scored: Of the training split, for the loss, the score and the gradient.
        batch_size: Samples at a time; it decides on memory and speed alone.
        eigenvalues: The largest ones.
        tolerance: Of eigenvalues, see `curvature.spectrum`.
        probes: Vectors that estimate the trace.
        radius: Of the sharpness, as a share of the weights' own length.
        directions: Random directions of the sharpness.
        reach: How far the pictures go to both sides, in the weights' own length.
        fine: Places of the line.
        coarse: Places of the grid along each of two directions.
        switches: Of a slot machine's weights.
        steps: Between two networks.
        tested: Of the test split, between two networks.
    """

    name: ClassVar[str] = "minima"
    question: ClassVar[str] = "How good a minimum did it find?"
    packages: ClassVar[tuple[str, ...]] = ("scipy",)
    columns: ClassVar[tuple[Column, ...]] = (
        Column("train.loss", "train loss", "on training samples, by the task's own loss", ".3f"),
        Column("curvature.largest.0", "curvature", "largest eigenvalue of the Hessian", ".2f"),
        Column("sharpness.value", "sharpness", "rise of the loss at a distance, in mean", ".3f"),
    )
    samples: Count = 500
    scored: Count = 10_000
    batch_size: Count = 250
    eigenvalues: Count = 5
    tolerance: Positive = 1e-3
    probes: Count = 20
    radius: Positive = 0.5
    directions: Count = 20
    reach: Positive = 1.0
    fine: Count = 21
    coarse: Count = 9
    switches: Count = 100
    steps: Count = 10
    tested: Count = 2000

    def __post_init__(self) -> None:
        check_fields(self)

    def ask(self, audited: Audited, progress: Progress) -> Answer:
        """Return loss, slope, curvature and landscape where training has ended.

        Raises:
            UserError: Nothing in the model learns, or its weights or second derivatives are not
                finite.
        """
        model, machine = plain(audited)
        train = audited.data.train
        loss, all_loss = (
            self._loss(audited, model, some(train, count, audited.seed))
            for count in (self.samples, self.scored)
        )
        total = 4 + self.probes + self.directions + self.fine + self.coarse**2
        total += self.switches * (machine is not None)
        with bar(progress, f"{audited.name} · minima", total) as shown:
            told = _Told(progress, shown)
            found: Answer = {
                "samples": len(loss.samples),
                "parameters": loss.count,
                "train": told.of(self._train(audited, all_loss)),
                "slope": told.of(_slope(all_loss, loss)),
                "curvature": self._curvature(loss, audited.seed, told),
                "sharpness": self._sharpness(loss, audited.seed, told),
                "landscape": self._landscape(loss, audited.seed, told),
                "notes": [],
            }
            if machine is not None:
                made = switches(loss, machine, self.switches, audited.seed)
                found["choices"] = asdict(summary(list(told.each(made))))
                found["notes"].append(f"This is a slot machine: {SCORES}.")
        return found | {"verdict": verdict(found)}

    def beside(self, audited: Audited, other: Audited) -> Answer:
        """Return loss and score on the straight line from one network's weights to another's.

        Raises:
            UserError: The networks differ, or the weights of one aren't finite.
        """
        (first, machine), (second, _) = plain(audited), plain(other)
        connectivity.check_alike(first, second)
        for model in (first, second):
            self._loss(audited, model, some(audited.data.train, 1, 0))  # sees that it is finite
        places = [place / self.steps for place in range(self.steps + 1)]
        found: Answer = {
            "places": places,
            "metric": audited.task.metric_name,
            "plain": self._line(audited, (first, second), None),
        }
        try:
            state = connectivity.matched(first, second, audited.seed)
            found["matched"] = self._line(audited, (first, second), state)
            found["unmatched"] = None
        except UserError as reason:
            found["matched"], found["unmatched"] = None, f"{reason}"
        found["notes"] = [f"These are slot machines: {SCORES}."] if machine is not None else []
        return found | {"verdict": verdict_beside(found, audited, other)}

    def _loss(self, audited: Audited, model: nn.Module, samples: Any) -> WeightLoss:
        device = device_of(model, samples.device)
        return WeightLoss(model, samples.to(device), audited.task.loss, self.batch_size)

    def _train(self, audited: Audited, loss: WeightLoss) -> Answer:
        task = audited.task
        found = evaluate(loss.model, loss.samples, task.loss, task.metric, self.batch_size)
        return {
            "samples": len(loss.samples),
            "loss": found.loss,
            "score": found.score,
            "metric": task.metric_name,
        }

    def _curvature(self, loss: WeightLoss, seed: int, told: _Told) -> Answer:
        ends = curvature.spectrum(loss.product, loss.count, self.eigenvalues, self.tolerance, seed)
        told.advance()
        quadratic = curvature.quadratics(loss.product, loss.count, self.probes, seed)
        return {
            "largest": list(ends.largest),
            "smallest": ends.smallest,
            "products": ends.products,
            "trace": asdict(curvature.mean(list(told.each(quadratic)))),
        }

    def _sharpness(self, loss: WeightLoss, seed: int, told: _Told) -> Answer:
        found = list(told.each(landscape.rises(loss, self.radius, self.directions, seed)))
        return {"radius": self.radius, **_finite(asdict(curvature.mean(found)))}

    def _landscape(self, loss: WeightLoss, seed: int, told: _Told) -> Answer:
        generator = torch.Generator().manual_seed(seed)
        ways = tuple(landscape.direction(loss.weights, generator) for _ in range(2))
        fine, coarse = (
            torch.linspace(-self.reach, self.reach, count).tolist()
            for count in (self.fine, self.coarse)
        )
        line = list(told.each(landscape.line(loss, ways[0], fine)))
        plane = list(told.each(landscape.plane(loss, (ways[0], ways[1]), coarse)))
        rows = [plane[i : i + len(coarse)] for i in range(0, len(plane), len(coarse))]
        return {
            "line": {"places": fine, "losses": _finite(line)},
            "plane": {"places": coarse, "losses": _finite(rows)},
        }

    def _line(
        self,
        audited: Audited,
        ends: tuple[nn.Module, nn.Module],
        second: dict[str, Tensor] | None,
    ) -> Answer:
        """Return loss and score between two networks, the second in another order of its units."""
        states = ends[0].state_dict(), ends[1].state_dict() if second is None else second
        parts = (
            some(audited.data.train, self.samples, audited.seed),
            some(audited.data.test, self.tested, audited.seed),
        )
        places = [place / self.steps for place in range(self.steps + 1)]
        model, _ = plain(audited)
        found = list(connectivity.along(model, states, places, audited.task, parts))
        losses, scores = zip(*found, strict=True)
        between = connectivity.Between(tuple(places), losses, scores)
        return {
            "losses": _finite(list(losses)),
            "scores": _finite(list(scores)),
            "barrier": _finite(between.barrier),
            "drop": _finite(between.drop),
        }


@dataclass(frozen=True)
class _Told:
    """What advances a bar."""

    progress: Progress
    shown: Any

    def advance(self) -> None:
        """Say that one more thing is done."""
        self.progress.advance(self.shown)

    def of(self, value: T) -> T:
        """Say so of a value, and return it."""
        self.advance()
        return value

    def each(self, values: Iterator[T]) -> Iterator[T]:
        """Say so of each value."""
        for value in values:
            self.advance()
            yield value


def plain(audited: Audited) -> tuple[nn.Module, Machine | None]:
    """Return the model with ordinary weights, and the slot machine that it was."""
    model = audited.build()
    machine = machine_of(model)
    if machine is not None:
        machine.remove()  # a machine that draws would write its own weights over others
    return model, machine


def _slope(loss: WeightLoss, bent: WeightLoss) -> Answer:
    found = curvature.slope(loss, bent)
    return _finite({**asdict(found), "gain": found.gain})  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    """Return JSON values, null in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def verdict(found: Answer) -> str:
    """Return what is found of one model in a sentence."""
    ends, sharp = found["curvature"], found["sharpness"]
    rise = _shown(sharp["value"])
    return (
        f"Training ended at a loss of {found['train']['loss']:.3g} on training samples, "
        f"{_level(found['slope'])}; the largest curvature is {ends['largest'][0]:.3g}, the "
        f"smallest {ends['smallest']:.2g}, and where all weights move by {sharp['radius']:.0%} of "
        f"their length in a random direction the loss rises by {rise} (standard error "
        f"{_shown(sharp['error'])}){_choices(found.get('choices'))}."
    )


def _choices(found: Answer | None) -> str:
    """Return what is found of a slot machine's weights, if it is one."""
    if found is None:
        return ""
    return (
        f"; of {found['tried']} single weights given another of their fixed values "
        f"{found['lower']:.0%} lower the loss"
    )


def _level(slope: Answer) -> str:
    """Return whether the loss is level where training ended."""
    gain = slope["gain"]
    if gain is None:
        return "which is no minimum: it bends downward along the exact gradient"
    taken = f"one step along the exact gradient takes {max(gain, 0):.1%} of it"
    return f"where it is level: {taken}" if gain < NOTHING else f"where it is not level: {taken}"


def verdict_beside(found: Answer, audited: Audited, other: Audited) -> str:
    """Return what is found of two models in a sentence."""
    names = " and ".join(f"{each.name} (seed {each.seed})" for each in (audited, other))
    sentence = (
        f"On the straight line between the weights of {names} the loss rises by "
        f"{_shown(found['plain']['barrier'])} above that of both ends, and {found['metric']} falls "
        f"by {_shown(found['plain']['drop'])}"
    )
    if found["matched"] is None:
        return f"{sentence}; {found['unmatched']}."
    return (
        f"{sentence}; with the units of the second matched to the first's, by "
        f"{_shown(found['matched']['barrier'])} and {_shown(found['matched']['drop'])}."
    )


def _shown(value: float | None) -> str:
    return "more than numbers hold" if value is None else f"{value:.2g}"
