"""The parts of a comparison of methods for several modalities that a report uses.

Every number of a record may be null, so every number here may be None, except seeds and weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.experiment.modal_methods import OURS
from beyondprop.report.records import TaskFacts

JOINT = "joint"
"""The method that figures show next to pre-training."""


@dataclass(frozen=True)
class Alone:
    """The results of one modality's sub-network, trained alone.

    Attributes:
        score: On all test data; a sample without the modality gets a constant answer.
        own_score: On the test samples that have the modality.
        own_samples: The number of these samples; None in an early record.
        validation: Its score on all validation data.
        losses: Its validation loss after each epoch.
        best: The epoch of the lowest loss, counted from 1.
        rate: The chosen learning rate.
        edge: Whether the chosen learning rate is at an end of those tried.
        operations: The operations of its training.
        seconds: The time of its training, on the machine of the record.
        converged: The number of epochs until convergence; None if it did not converge.
        converged_operations: The operations of these epochs.
    """

    score: float | None
    own_score: float | None
    own_samples: float | None
    validation: float | None
    losses: tuple[float | None, ...]
    best: int
    rate: float | None
    edge: bool
    operations: float | None
    seconds: float | None
    converged: float | None
    converged_operations: float | None


@dataclass(frozen=True)
class Trust:
    """The weights that a fusion gives modalities, on test data.

    A modality is right about a sample if its sub-network, trained alone, predicts the sample's
    class.

    Attributes:
        mean: The mean weight by modality.
        samples: Weights of the first samples, one row each, in the order of modalities.
        right: Whether each modality is right, in the same order; empty if unknown.
        picked: How often the modality with the largest weight is right; None if unknown.
        chance: How often a random modality is right.
        possible: How often any modality is right.
        where_right: Mean weight of each modality where it is right.
        where_wrong: Mean weight of each modality where it is wrong.
    """

    mean: Mapping[str, float | None]
    samples: tuple[tuple[float, ...], ...]
    right: tuple[tuple[bool, ...], ...]
    picked: float | None
    chance: float | None
    possible: float | None
    where_right: Mapping[str, float | None]
    where_wrong: Mapping[str, float | None]


@dataclass(frozen=True)
class Reached:
    """The results of a method; `failed` gives the reason if there are none.

    Attributes:
        score: On test data.
        validation: On validation data.
        named: Further scores on test data, by name.
        missing: Scores if only some modalities are given, by their names joined by +.
        noise: Scores if one modality is replaced by noise, by its name.
        trust: The weights of its fusion; None for a method without such weights.
        operations: The operations of its training, including earlier stages.
        searched: The operations of all trials of its learning rate, including earlier stages.
        seconds: The time of its training, on the machine of the record.
        to_target: Operations until its validation score first reaches the target; None if never.
        seconds_to_target: The time until then.
        steps: The number of steps of the joint training.
        rate: The chosen learning rate; None if nothing is trained.
        edge: Whether it is at an end of those tried.
        modality: The only modality that it uses, or empty.
        failed: A reason, or empty.
    """

    score: float | None
    validation: float | None
    named: Mapping[str, float | None]
    missing: Mapping[str, float | None]
    noise: Mapping[str, float | None]
    trust: Trust | None
    operations: float | None
    searched: float | None
    seconds: float | None
    to_target: float | None
    seconds_to_target: float | None
    steps: float | None
    rate: float | None
    edge: bool
    modality: str
    failed: str


@dataclass(frozen=True)
class Computation:
    """The budget of every method for a seed, in floating-point operations of training.

    Attributes:
        alone: For all modalities alone.
        warm: For the fusion on their features.
        joint: For the whole network, as in pre-training.
        total: Their sum.
    """

    alone: float | None
    warm: float | None
    joint: float | None
    total: float | None


@dataclass(frozen=True)
class OfSeed:
    """The results of one seed: its single modalities, and its methods by name.

    Attributes:
        seed: Its number.
        fusion: The class that joins modalities; empty if unknown.
        target: The validation score for comparing costs; None in an early record.
        budget: The budget of each method.
        alone: The results of each modality alone, by name.
        methods: The results of each method, by name.
    """

    seed: int
    fusion: str
    target: float | None
    budget: Computation
    alone: Mapping[str, Alone]
    methods: Mapping[str, Reached]


@dataclass(frozen=True)
class ModalComparison:
    """Methods for several modalities, with one or more seeds.

    Attributes:
        task: Their task.
        spec: All settings.
        seeds: The results of each seed; all have the same modalities and methods.
        provenance: The origin of the record.
    """

    task: TaskFacts
    spec: Mapping[str, Any]
    seeds: tuple[OfSeed, ...]
    provenance: Mapping[str, Any]

    @property
    def modalities(self) -> list[str]:
        """The names of the modalities, in the order of the network."""
        return list(self.seeds[0].alone)

    @property
    def methods(self) -> list[str]:
        """The names of the methods, as in records."""
        return list(self.seeds[0].methods)

    @property
    def fusion(self) -> str:
        """The class that joins modalities; empty if unknown."""
        return self.seeds[0].fusion

    def of(self, method: str) -> list[Reached]:
        """Return a method's results, one per seed; empty for a method that was not compared."""
        return [each.methods[method] for each in self.seeds if method in each.methods]

    def trusts(self, method: str) -> list[Trust]:
        """Return the weights of a method, one per seed that has them."""
        return [each.trust for each in self.of(method) if each.trust is not None]

    @property
    def attentive(self) -> list[str]:
        """The methods whose weights are known, pre-training first."""
        known = [name for name in self.methods if self.trusts(name)]
        return sorted(known, key=lambda name: name != OURS)


def title(method: str) -> str:
    """Return a method's name for sentences: without commas, which separate the names of a list."""
    name, _, how = method.partition(", ")
    return f"{name} ({how})" if how else name
