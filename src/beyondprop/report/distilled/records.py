"""The parts of a distillation that a report uses.

Every number of a record may be null, so every number here may be None, except budgets and seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.experiment.distil_spec import LIMITS, OPERATIONS
from beyondprop.experiment.distil_table import WAYS
from beyondprop.report.records import TaskFacts

MERGED, HEALED = "merged", "healed"
SHARED, WHOLE = "end to end, shared", "end to end, whole"
"""Methods that sentences mention, as records name them."""
LABELLED = (HEALED, "pruned", "scratch")
"""Methods that need labels, which random inputs do not have."""


@dataclass(frozen=True)
class Piece:
    """The cost of a piece: the teacher's, or a student."""

    parameters: float | None
    operations: float | None


@dataclass(frozen=True)
class Student:
    """A trained candidate.

    Attributes:
        cost: Its cost.
        error: Its distance from the teacher's piece, on validation data.
        alone: The increase of the network's validation loss with only this student in place.
        steps: The number of its training steps.
    """

    cost: Piece
    error: float | None
    alone: float | None
    steps: float | None


@dataclass(frozen=True)
class Way:
    """The result of a network after one training method; `failed` gives the reason if it has none.

    `edge` states whether the chosen learning rate is at an end of those tried.
    """

    score: float | None
    validation: float | None
    rate: float | None
    steps: float | None
    edge: bool
    failed: str


@dataclass(frozen=True)
class Assembly:
    """The assembly of one seed within one budget; `failed` gives the reason if there is none.

    Attributes:
        budget: The share of the whole network's operations that may be kept.
        failed: A reason, or empty.
        choice: Candidates by neighbourhood; neighbourhoods without one keep the teacher's piece.
        kept: The share of the operations that is kept.
        ways: The results of the network by training method.
    """

    budget: float
    failed: str
    choice: Mapping[str, str]
    kept: float | None
    ways: Mapping[str, Way]


@dataclass(frozen=True)
class OfSeed:
    """The results of one seed.

    Attributes:
        seed: The seed.
        score: The teacher's score on test data.
        operations: The operations of the complete teacher per sample.
        pieces: The costs of the teacher's pieces by neighbourhood; empty in early records.
        students: The students by neighbourhood and candidate.
        assemblies: One per budget.
    """

    seed: int
    score: float | None
    operations: float | None
    pieces: Mapping[str, Piece]
    students: Mapping[str, Mapping[str, Student]]
    assemblies: tuple[Assembly, ...]


@dataclass(frozen=True)
class Distillation:
    """A network that was distilled piece by piece, with one or more seeds.

    Attributes:
        task: The task that the teacher was trained on.
        spec: All settings.
        seeds: The results of each seed; all have the same number of assemblies.
        candidates: The labels of the requested candidates.
        provenance: The origin of the record.
    """

    task: TaskFacts
    spec: Mapping[str, Any]
    seeds: tuple[OfSeed, ...]
    candidates: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def budgets(self) -> list[float]:
        """The budgets, in their order."""
        return [each.budget for each in self.seeds[0].assemblies]

    @property
    def limit(self) -> str:
        """The quantity that budgets are shares of, as people read it."""
        return LIMITS[self.spec.get("limit", OPERATIONS)]

    @property
    def neighbourhoods(self) -> list[str]:
        """The names of the neighbourhoods, in the order of the network."""
        return list(dict.fromkeys(name for each in self.seeds for name in each.students))

    @property
    def ways(self) -> dict[str, str]:
        """The training methods of whole networks, by their names in records.

        A library for one budget is charged to it in full, so its two charges are the same method.
        """
        named = {SHARED: "end to end (shared)", WHOLE: "end to end (whole)"}
        left_out = set() if self.spec.get("inputs") is None else set(LABELLED)
        if len(self.budgets) == 1:
            named, left_out = {SHARED: "end to end"}, left_out | {WHOLE}
        return {way: named.get(way, way) for way in WAYS if way not in left_out}

    @property
    def result(self) -> str:
        """The method whose result represents the assembly: healed, or merged without labels."""
        return HEALED if HEALED in self.ways else MERGED

    def known(self, place: int) -> list[OfSeed]:
        """Return the seeds that have an assembly within a budget."""
        return [each for each in self.seeds if not each.assemblies[place].failed]
