"""What a report needs of a distillation.

Every number of a record may be null, so every number here but a budget and a seed may be None.
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
"""Ways that sentences are about, as records name them."""
LABELLED = (HEALED, "pruned", "scratch")
"""Ways that need labels, which drawn inputs do not have."""


@dataclass(frozen=True)
class Piece:
    """What a piece costs; the teacher's, or a student."""

    parameters: float | None
    operations: float | None


@dataclass(frozen=True)
class Student:
    """A trained candidate.

    Attributes:
        cost: What it costs.
        error: Its distance from the teacher's piece, on validation data.
        alone: By how much the validation loss of the whole rises where it alone is put in.
        steps: Of its training.
    """

    cost: Piece
    error: float | None
    alone: float | None
    steps: float | None


@dataclass(frozen=True)
class Way:
    """What a whole network reaches, trained one way; `failed` says why it reaches nothing.

    `edge` says whether the chosen learning rate lies at an end of those that were tried.
    """

    score: float | None
    validation: float | None
    rate: float | None
    steps: float | None
    edge: bool
    failed: str


@dataclass(frozen=True)
class Assembly:
    """What one seed has within one budget; `failed` says why there is nothing.

    Attributes:
        budget: The share of the whole network's operations that may be kept.
        failed: A reason, or nothing.
        choice: Candidates by neighbourhood; one that is not named keeps the teacher's piece.
        kept: The share of the operations that is kept.
        ways: What the network reaches, by the way to train it.
    """

    budget: float
    failed: str
    choice: Mapping[str, str]
    kept: float | None
    ways: Mapping[str, Way]


@dataclass(frozen=True)
class OfSeed:
    """What one seed gave.

    Attributes:
        seed: The seed.
        score: Of the teacher, on test data.
        operations: Of the whole teacher, for one sample.
        pieces: What the teacher's pieces cost, by neighbourhood; empty in early records.
        students: By neighbourhood and candidate.
        assemblies: One a budget.
    """

    seed: int
    score: float | None
    operations: float | None
    pieces: Mapping[str, Piece]
    students: Mapping[str, Mapping[str, Student]]
    assemblies: tuple[Assembly, ...]


@dataclass(frozen=True)
class Distillation:
    """A network that was distilled piece by piece, from one seed or several.

    Attributes:
        task: The task that the teacher was trained on.
        spec: All settings.
        seeds: What each seed gave; every one has as many assemblies.
        candidates: Labels of those that were asked for.
        provenance: Where the record comes from.
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
        """What budgets are shares of, as people read it."""
        return LIMITS[self.spec.get("limit", OPERATIONS)]

    @property
    def neighbourhoods(self) -> list[str]:
        """Their names, in the order of the network."""
        return list(dict.fromkeys(name for each in self.seeds for name in each.students))

    @property
    def ways(self) -> dict[str, str]:
        """How whole networks are trained, as records and as people name it.

        A library that serves one budget is charged to it as a whole: the two ways to charge it are
        one.
        """
        named = {SHARED: "end to end (shared)", WHOLE: "end to end (whole)"}
        left_out = set() if self.spec.get("inputs") is None else set(LABELLED)
        if len(self.budgets) == 1:
            named, left_out = {SHARED: "end to end"}, left_out | {WHOLE}
        return {way: named.get(way, way) for way in WAYS if way not in left_out}

    @property
    def result(self) -> str:
        """The way that stands for what was put together: healed, or merged without labels."""
        return HEALED if HEALED in self.ways else MERGED

    def known(self, place: int) -> list[OfSeed]:
        """Return the seeds that have an assembly within a budget."""
        return [each for each in self.seeds if not each.assemblies[place].failed]
