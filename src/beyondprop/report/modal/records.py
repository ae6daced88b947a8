"""What a report needs of a comparison of methods for several modalities.

Every number of a record may be null, so every number here but a seed and a weight may be None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beyondprop.experiment.modal_methods import OURS
from beyondprop.report.records import TaskFacts

JOINT = "joint"
"""The method that the pictures set beside pre-training."""


@dataclass(frozen=True)
class Alone:
    """What one modality's sub-network reaches, trained alone.

    Attributes:
        score: On all test data; a sample that lacks the modality gets a constant answer.
        own_score: On the test samples that have the modality.
        own_samples: How many these are; None of an earlier record.
        validation: Its score on all validation data.
        losses: Its validation loss after each epoch.
        best: The epoch of the least of them, from 1 on.
        rate: The chosen learning rate.
        edge: Whether that lies at an end of those that were tried.
        operations: Of its training.
        seconds: Of its training, on the machine of the record.
        converged: Epochs after which it had converged; None where it never did.
        converged_operations: Of these epochs.
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

    A modality is right about a sample where its sub-network, trained alone, says the sample's
    class.

    Attributes:
        mean: Weight by modality.
        samples: Weights of the first samples, a row each, in the order of modalities.
        right: The same of whether each modality is right; nothing where that is not known.
        picked: How often the modality with the largest weight is right; None where it is not known.
        chance: How often a modality at random is.
        possible: How often any is.
        where_right: Mean weight of each modality where it is right.
        where_wrong: The same where it is wrong.
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
    """What a method reaches; `failed` says why it reaches nothing.

    Attributes:
        score: On test data.
        validation: On validation data.
        named: Further scores on test data, by name.
        missing: Scores where some modalities alone are given, by their names joined by +.
        noise: Scores where one modality is replaced by noise, by its name.
        trust: Whom it trusts; None of a method without such weights.
        operations: Of its training, with what comes before.
        searched: Of all trials of its learning rate, with those of what comes before.
        seconds: The same, on the machine of the record.
        to_target: Operations until its validation score first reached the target; None: never.
        seconds_to_target: The same.
        steps: Of the joint training.
        rate: The chosen learning rate; None where nothing is trained.
        edge: Whether that lies at an end of those that were tried.
        modality: The only one that it uses, or nothing.
        failed: A reason, or nothing.
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
    """What every method of a seed may compute, as floating-point operations of training.

    Attributes:
        alone: Of all modalities alone.
        warm: Of the fusion on what these give.
        joint: Of the whole, as pre-training trains it.
        total: Their sum.
    """

    alone: float | None
    warm: float | None
    joint: float | None
    total: float | None


@dataclass(frozen=True)
class OfSeed:
    """What one seed gave: its modalities alone, and its methods, by name.

    Attributes:
        seed: Its number.
        fusion: The class of what joins modalities; nothing where that is not known.
        target: The validation score to which costs are compared; None of an earlier record.
        budget: What each method may compute.
        alone: What each modality reaches alone, by name.
        methods: What each method reaches, by name.
    """

    seed: int
    fusion: str
    target: float | None
    budget: Computation
    alone: Mapping[str, Alone]
    methods: Mapping[str, Reached]


@dataclass(frozen=True)
class ModalComparison:
    """Methods for several modalities, from one seed or several.

    Attributes:
        task: Their task.
        spec: All settings.
        seeds: What each seed gave; all have the same modalities and methods.
        provenance: Where the record comes from.
    """

    task: TaskFacts
    spec: Mapping[str, Any]
    seeds: tuple[OfSeed, ...]
    provenance: Mapping[str, Any]

    @property
    def modalities(self) -> list[str]:
        """Their names, in the order of the network."""
        return list(self.seeds[0].alone)

    @property
    def methods(self) -> list[str]:
        """Their names, as records have them."""
        return list(self.seeds[0].methods)

    @property
    def fusion(self) -> str:
        """The class of what joins modalities; nothing where that is not known."""
        return self.seeds[0].fusion

    def of(self, method: str) -> list[Reached]:
        """Return what a method reaches, one a seed; nothing of a method that was not compared."""
        return [each.methods[method] for each in self.seeds if method in each.methods]

    def trusts(self, method: str) -> list[Trust]:
        """Return whom a method trusts, one a seed that knows it."""
        return [each.trust for each in self.of(method) if each.trust is not None]

    @property
    def attentive(self) -> list[str]:
        """The methods whose weights are known, ours first."""
        known = [name for name in self.methods if self.trusts(name)]
        return sorted(known, key=lambda name: name != OURS)


def title(method: str) -> str:
    """Return a method's name for sentences: without commas, which part the names of a list."""
    name, _, how = method.partition(", ")
    return f"{name} ({how})" if how else name
