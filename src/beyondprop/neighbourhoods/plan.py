"""What a distillation would take, before anything is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from rich.progress import Progress
from torch import nn

from beyondprop.errors import UserError
from beyondprop.neighbourhoods.activations import Activations
from beyondprop.neighbourhoods.calls import Batch, Call, calls
from beyondprop.neighbourhoods.candidates import Candidate
from beyondprop.neighbourhoods.capture import (
    Cache,
    bytes_a_sample,
    first_batch,
    samples_within,
)
from beyondprop.neighbourhoods.cost import Cost, cost_of
from beyondprop.neighbourhoods.layout import Layout, check_pieces, first, layouts, size
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.neighbourhoods.training import Recipe, teach

TRIED = 2
"""Steps of a trial, behind one that does not count."""


@dataclass(frozen=True)
class Planned:
    """A student that would be trained.

    Attributes:
        neighbourhood: Its name.
        candidate: Its label.
        cost: Of its use; None where it can't be built.
        seconds: Of its training on this machine, as a trial of few steps predicts.
        reason: Why it can't be built, or trained.
    """

    neighbourhood: str
    candidate: str
    cost: Cost | None = None
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """What a distillation would take.

    Attributes:
        students: Each candidate of each neighbourhood.
        teacher: The cost of each neighbourhood's piece, by name.
        samples: Of the data, as far as their activations fit into the cache.
        whole: Samples that the data has.
        bytes: Of activations on disk.
    """

    students: tuple[Planned, ...]
    teacher: Mapping[str, Cost]
    samples: int
    whole: int
    bytes: int

    @property
    def seconds(self) -> float:
        """Of all students, one after another."""
        return sum(each.seconds for each in self.students)


def plan(
    teacher: nn.Module,
    neighbourhoods: Sequence[Neighbourhood],
    data: Iterable[Batch],
    candidates: Mapping[str, Candidate],
    recipe: Recipe | None = None,
    cache: Cache | None = None,
) -> Plan:
    """Return what `distil` would do with these, after a trial of a few steps of every student.

    Args:
        teacher: In eval mode.
        neighbourhoods: From `split`.
        data: Batches that the teacher is called with; all of it is read, to count it.
        candidates: By a label for each.
        recipe: How students are trained.
        cache: How activations are stored.

    Raises:
        UserError: The teacher can't be taken apart so, or there is no data.
    """
    own, kept = recipe or Recipe(), cache or Cache()
    probe = first_batch(data)
    found = layouts(teacher, neighbourhoods, probe)
    check_pieces(teacher, neighbourhoods, first(probe, 2))
    whole = sum(map(size, data))
    samples = min(whole, samples_within(found.values(), kept))
    seen = calls(teacher, neighbourhoods, first(probe, own.batch_size))
    steps = own.epochs * math.ceil(samples / min(own.batch_size, size(probe)))
    students = []
    for each in neighbourhoods:
        trial = Trial(each.piece(teacher), found[each.name], seen[each.name], own, steps)
        students += [trial.of(each.name, label, one) for label, one in candidates.items()]
    pieces = {
        each.name: cost_of(each.piece(teacher), found[each.name].sample) for each in neighbourhoods
    }
    needed = samples * bytes_a_sample(found.values(), kept)
    return Plan(tuple(students), pieces, samples, whole, needed)


@dataclass(frozen=True)
class Trial:
    """What students of one neighbourhood are tried on.

    Attributes:
        piece: The teacher's.
        layout: Of its calls.
        call: Of a batch.
        recipe: How students are trained.
        steps: Of their training.
    """

    piece: nn.Module
    layout: Layout
    call: Call
    recipe: Recipe
    steps: int

    def of(self, neighbourhood: str, label: str, candidate: Candidate) -> Planned:
        """Return what one student would take."""
        try:
            student = candidate.build(self.piece, self.layout.sample)
            cost = cost_of(student, self.layout.sample)
            seconds = seconds_a_step(student, self.call, self.recipe)
        except UserError as error:
            return Planned(neighbourhood, label, reason=str(error))
        return Planned(neighbourhood, label, cost, seconds * self.steps)


def seconds_a_step(student: nn.Module, call: Call, recipe: Recipe) -> float:
    """Return the time of a step on a call, the first one left out."""
    hidden = Progress(disable=True)
    short = replace(recipe, epochs=1, steps=None)
    teach(student, Repeated(call, 1), short, hidden, "trial")
    started = time.perf_counter()
    teach(student, Repeated(call, TRIED), short, hidden, "trial")
    return (time.perf_counter() - started) / TRIED


@dataclass(frozen=True)
class Repeated(Activations):
    """One call, again and again.

    Attributes:
        call: Of a batch.
        count: How often.
    """

    call: Call
    count: int

    def batches(self, size: int, seed: int) -> Iterator[Call]:
        """Yield the call so often."""
        del size, seed
        return repeat(self.call, self.count)

    def steps(self, size: int) -> int:
        """Return how often."""
        del size
        return self.count

    @property
    def digest(self) -> str:
        """Nothing: it is used once."""
        return "repeated"
