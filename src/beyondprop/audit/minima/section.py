"""The audit section on minima."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited, Section, some
from beyondprop.audit.minima import connectivity
from beyondprop.audit.minima.choices import SCORES, summary, switches
from beyondprop.audit.minima.figures import (
    Shown,
    of_curvature,
    of_landscape,
    of_line,
    of_sharpness,
    of_slope,
    of_training,
)
from beyondprop.audit.minima.weight_loss import WeightLoss
from beyondprop.audit.minima.words import verdict, verdict_beside
from beyondprop.engine.untouched import device_of
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bar
from beyondprop.measure import Column
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, Positive
from beyondprop.slots import Machine, machine_of
from beyondprop.tasks import Samples


@dataclass(frozen=True)
class Minima(Section):
    """How good a minimum did it find?

    Attributes:
        samples: Training samples for curvature and landscape.
        scored: Training samples for the loss, the score and the gradient.
        batch_size: Samples per batch; affects only memory and speed.
        eigenvalues: Number of largest eigenvalues.
        tolerance: Tolerance of eigenvalues, see `curvature.spectrum`.
        probes: Number of vectors for the estimate of the trace.
        radius: Distance for the sharpness, as a share of the weights' own length.
        directions: Number of random directions for the sharpness.
        reach: Distance shown to both sides, in units of the weights' own length.
        fine: Number of positions on the line.
        coarse: Number of positions along each of two directions.
        switches: Number of changes of a slot machine's weights.
        steps: Number of steps between two networks.
        tested: Test samples for the line between two networks.
    """

    name: ClassVar[str] = "minima"
    question: ClassVar[str] = "How good a minimum did it find?"
    packages: ClassVar[tuple[str, ...]] = ("scipy",)
    columns: ClassVar[tuple[Column, ...]] = (
        Column("train.loss", "train loss", "on training samples, by the task's own loss", ".3f"),
        Column("curvature.largest.0", "curvature", "largest eigenvalue of the Hessian", ".2f"),
        Column(
            "sharpness.value", "sharpness", "mean increase of the loss at a set distance", ".3f"
        ),
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
        """Return loss, slope, curvature and landscape at the end of training.

        Raises:
            UserError: The model has no trainable parameters, or its weights or second derivatives
                are not finite.
        """
        model, machine = plain(audited)
        train, seed = audited.data.train, audited.seed
        loss, all_loss = (
            self._loss(audited, model, some(train, count, seed))
            for count in (self.samples, self.scored)
        )
        total = 3 + self.probes + self.directions + self.fine + self.coarse**2
        total += self.switches * (machine is not None)
        with bar(progress, f"{audited.name} · minima", total) as task:
            shown = Shown(progress, task)
            found: Answer = {
                "samples": len(loss.samples),
                "parameters": loss.count,
                "train": shown.done(of_training(audited.task, all_loss)),
                "slope": shown.done(of_slope(all_loss, loss)),
                "curvature": of_curvature(
                    loss, self.eigenvalues, self.tolerance, self.probes, seed, shown
                ),
                "sharpness": of_sharpness(loss, self.radius, self.directions, seed, shown),
                "landscape": of_landscape(loss, self.reach, self.fine, self.coarse, seed, shown),
                "notes": [],
            }
            if machine is not None:
                made = switches(loss, machine, self.switches, seed)
                found["choices"] = asdict(summary(list(shown.each(made))))
                found["notes"].append(f"This is a slot machine: {SCORES}.")
        return found | {"verdict": verdict(found)}

    def beside(self, audited: Audited, other: Audited) -> Answer:
        """Return the loss and the score on the straight line from one network's weights to
        another's.

        Raises:
            UserError: The networks differ, or the weights of one are not finite.
        """
        (first, machine), (second, _) = plain(audited), plain(other)
        connectivity.check_alike(first, second)
        for model in (first, second):
            self._loss(audited, model, some(audited.data.train, 1, 0))  # raises if not finite
        ends = first.state_dict(), second.state_dict()
        places = [place / self.steps for place in range(self.steps + 1)]
        found: Answer = {
            "places": places,
            "metric": audited.task.metric_name,
            "plain": of_line(places, self._along(audited, ends, places)),
        }
        try:
            state = connectivity.matched(first, second, audited.seed)
            along = self._along(audited, (ends[0], state), places)
            found["matched"], found["unmatched"] = of_line(places, along), None
        except UserError as reason:
            found["matched"], found["unmatched"] = None, f"{reason}"
        found["notes"] = [f"These are slot machines: {SCORES}."] if machine is not None else []
        names = (f"{each.name} (seed {each.seed})" for each in (audited, other))
        return found | {"verdict": verdict_beside(found, *names)}

    def _loss(self, audited: Audited, model: nn.Module, samples: Samples) -> WeightLoss:
        device = device_of(model, samples.device)
        return WeightLoss(model, samples.to(device), audited.task.loss, self.batch_size)

    def _along(
        self,
        audited: Audited,
        ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
        places: list[float],
    ) -> list[tuple[float, float]]:
        """Return the loss and the score at positions between two states of a network."""
        parts = (
            some(audited.data.train, self.samples, audited.seed),
            some(audited.data.test, self.tested, audited.seed),
        )
        model, _ = plain(audited)
        return list(connectivity.along(model, ends, places, audited.task, parts))


def plain(audited: Audited) -> tuple[nn.Module, Machine | None]:
    """Return the model with ordinary weights, and the slot machine if it was one."""
    model = audited.build()
    machine = machine_of(model)
    if machine is not None:
        machine.remove()  # a machine that draws would write its own weights over others
    return model, machine
