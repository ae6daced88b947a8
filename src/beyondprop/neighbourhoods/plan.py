"""The predicted cost of a distillation, before training."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

from rich.progress import Progress
from torch import nn

from beyondprop.errors import UserError
from beyondprop.neighbourhoods.activations import Activations, Streamed
from beyondprop.neighbourhoods.calls import Call, calls
from beyondprop.neighbourhoods.candidates import Candidate
from beyondprop.neighbourhoods.capture import (
    Cache,
    bytes_a_sample,
    samples_within,
    shares,
)
from beyondprop.neighbourhoods.cost import Cost, cost_of
from beyondprop.neighbourhoods.interfaces import built, interfaces
from beyondprop.neighbourhoods.labels import check_named
from beyondprop.neighbourhoods.layout import Layout
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.neighbourhoods.shards import check_room
from beyondprop.neighbourhoods.sources import check_source, written
from beyondprop.neighbourhoods.synthetic import DrawnInputs, synthesized
from beyondprop.neighbourhoods.training import teach
from beyondprop.pieces.data import Batch, first, first_batch, length, size
from beyondprop.pieces.training import Recipe

TRIED = 2
"""Timed steps of a trial, after one that is not timed."""


@dataclass(frozen=True)
class Planned:
    """A student that would be trained.

    Attributes:
        neighbourhood: The neighbourhood's name.
        candidate: The candidate's label.
        cost: The student's cost in use; None if it can't be built.
        seconds: Its training time on this machine, predicted from a trial of a few steps.
        reason: Why it can't be built or trained.
    """

    neighbourhood: str
    candidate: str
    cost: Cost | None = None
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """The predicted cost of a distillation.

    Attributes:
        students: Each candidate of each neighbourhood.
        teacher: The cost of each neighbourhood's piece, by name.
        samples: The number of samples whose activations fit into the cache; with drawn inputs, the
            number of known samples in memory.
        whole: The number of samples in the data.
        bytes: The size of activations on disk, including those of validation data.
        drawn: The number of samples drawn in a pass; None if students learn from the data.
    """

    students: tuple[Planned, ...]
    teacher: Mapping[str, Cost]
    samples: int
    whole: int
    bytes: int
    drawn: int | None = None

    @property
    def seconds(self) -> float:
        """The time of all students, trained one after another."""
        return sum(each.seconds for each in self.students)


def plan(
    teacher: nn.Module,
    neighbourhoods: Sequence[Neighbourhood],
    data: Iterable[Batch],
    candidates: Mapping[str, Candidate],
    recipe: Recipe | None = None,
    cache: Cache | None = None,
    synthetic: DrawnInputs | None = None,
    *,
    validation: Iterable[Batch] | None = None,
    streamed: bool = False,
    folder: Path | None = None,
) -> Plan:
    """Return what `distil` would do with these arguments, after a short trial of every student.

    Args:
        teacher: The teacher, in eval mode.
        neighbourhoods: The neighbourhoods, from `split`.
        data: Batches of the teacher's inputs; all of them are read and counted.
        candidates: Candidates by label.
        recipe: The training recipe of students.
        cache: How activations are stored.
        synthetic: How inputs of neighbourhoods are drawn at random.
        validation: Batches on which students are evaluated; all of them are read and counted.
        streamed: Whether the teacher recomputes activations in each pass.
        folder: The folder of the distillation, whose disk must have space for the activations.

    Raises:
        UserError: The teacher can't be split like this, there is no data, a neighbourhood has no
            inputs that can be drawn, or the folder's disk is too full.
    """
    check_named(neighbourhoods, candidates)
    check_source(cache, synthetic, streamed)
    own, kept, whole = recipe or Recipe(), cache or Cache(), sum(map(size, data))
    held = [] if validation is None else [sum(map(size, validation))]
    if streamed:
        trials = trials_on_streams(teacher, neighbourhoods, data, own)
        samples, stored, steps = whole, [], length(data)
    elif synthetic is None:
        trials = trials_on_data(teacher, neighbourhoods, data, own)
        stored = fitting([whole, *held], trials, kept)
        samples = stored[0]
        steps = math.ceil(samples / min(own.batch_size, size(first_batch(data))))
    else:
        trials = trials_on_draws(teacher, neighbourhoods, data, own, synthetic)
        samples, stored = min(whole, synthetic.known), fitting(held, trials, kept)
        steps = math.ceil(synthetic.samples / own.batch_size)
    needed = sum(stored) * bytes_a_sample([each.layout for each in trials.values()], kept)
    if folder is not None:
        check_room(folder, needed - written(folder))
    students = [
        trial.of(name, label, one, own.total(steps))
        for name, trial in trials.items()
        for label, one in candidates.items()
    ]
    pieces = {name: cost_of(trial.piece, trial.layout.sample) for name, trial in trials.items()}
    drawn = None if synthetic is None else synthetic.samples
    return Plan(tuple(students), pieces, samples, whole, needed, drawn)


def fitting(counts: Sequence[int], trials: Mapping[str, Trial], cache: Cache) -> list[int]:
    """Return how many samples of each part of the data fit into the cache."""
    layouts = [each.layout for each in trials.values()]
    return shares(counts, samples_within([layouts] * len(counts), cache)) if counts else []


@dataclass(frozen=True)
class Trial:
    """The data for trials of one neighbourhood's students.

    Attributes:
        piece: The teacher's piece.
        layout: The layout of its calls.
        once: The activations of one step.
        often: The activations of the timed steps.
        recipe: The training recipe of students.
    """

    piece: nn.Module
    layout: Layout
    once: Activations
    often: Activations
    recipe: Recipe

    def of(self, neighbourhood: str, label: str, candidate: Candidate, steps: int) -> Planned:
        """Return the prediction for one student that trains for this number of steps."""
        try:
            student = built(candidate, self.piece, self.layout)
            cost = cost_of(student, self.layout.sample)
            seconds = self._seconds(student)
        except UserError as error:
            return Planned(neighbourhood, label, reason=str(error))
        return Planned(neighbourhood, label, cost, seconds * steps)

    def _seconds(self, student: nn.Module) -> float:
        """Return the time of a step, without the first one."""
        hidden = Progress(disable=True)
        short = replace(self.recipe, epochs=1, steps=None)
        teach(student, self.once, short, hidden, "trial")
        started = time.perf_counter()
        teach(student, self.often, short, hidden, "trial")
        return (time.perf_counter() - started) / TRIED


def trials_on_data(
    teacher: nn.Module,
    neighbourhoods: Sequence[Neighbourhood],
    data: Iterable[Batch],
    recipe: Recipe,
) -> dict[str, Trial]:
    """Return trials on each neighbourhood's call in the first batch."""
    probe = first_batch(data)
    found = interfaces(teacher, neighbourhoods, probe)
    seen = calls(teacher, neighbourhoods, first(probe, recipe.batch_size))
    return {
        each.name: Trial(
            each.piece(teacher),
            found[each.name],
            Repeated(seen[each.name], 1),
            Repeated(seen[each.name], TRIED),
            recipe,
        )
        for each in neighbourhoods
    }


def trials_on_streams(
    teacher: nn.Module,
    neighbourhoods: Sequence[Neighbourhood],
    data: Iterable[Batch],
    recipe: Recipe,
) -> dict[str, Trial]:
    """Return trials in which the teacher recomputes the first batch in each step."""
    probe = first_batch(data)
    found = interfaces(teacher, neighbourhoods, probe)
    return {
        each.name: Trial(
            each.piece(teacher),
            found[each.name],
            Streamed(teacher, each, [probe]),
            Streamed(teacher, each, [probe] * TRIED),
            recipe,
        )
        for each in neighbourhoods
    }


def trials_on_draws(
    teacher: nn.Module,
    neighbourhoods: Sequence[Neighbourhood],
    data: Iterable[Batch],
    recipe: Recipe,
    synthetic: DrawnInputs,
) -> dict[str, Trial]:
    """Return trials on drawn inputs, which are drawn and passed to the piece in each step."""
    size = recipe.batch_size
    return {
        name: Trial(
            each.piece,
            each.layout,
            replace(each, samples=size),
            replace(each, samples=TRIED * size),
            recipe,
        )
        for name, each in synthesized(teacher, neighbourhoods, data, synthetic).items()
    }


@dataclass(frozen=True)
class Repeated(Activations):
    """One call, repeated.

    Attributes:
        call: The call of a batch.
        count: The number of repetitions.
    """

    call: Call
    count: int

    def batches(self, size: int, seed: int) -> Iterator[Call]:
        """Yield the call `count` times."""
        del size, seed
        return repeat(self.call, self.count)

    def steps(self, size: int) -> int:
        """Return the number of repetitions."""
        del size
        return self.count

    @property
    def digest(self) -> str:
        """A constant, as trials are not stored."""
        return "repeated"

    @property
    def operations(self) -> int:
        """Zero, as the call is in memory."""
        return 0
