"""Significant differences between pre-training and other methods.

Scores are paired by seed. A difference is significant by Student's paired t-test, after Holm's
correction over all methods that it is compared with, if its interval also excludes zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.modal_table import against
from beyondprop.experiment.statistics import Difference
from beyondprop.report.differences import resolution, verdict
from beyondprop.report.modal.records import ModalComparison


@dataclass(frozen=True)
class Findings:
    """The results of pre-training compared with the other methods.

    Attributes:
        seeds: The number of seeds with a score of pre-training.
        pairs: The differences by the other method's name.
        others: The names of all other methods, in their order.
    """

    seeds: int
    pairs: Mapping[str, Difference]
    others: tuple[str, ...]

    @property
    def unpaired(self) -> list[str]:
        """The methods that it is not compared with, because the score of a seed is missing."""
        return [name for name in self.others if name not in self.pairs]

    def verdicts(self) -> dict[str, list[str]]:
        """Return the methods by verdict."""
        found: dict[str, list[str]] = {}
        for name in self.others:
            found.setdefault(verdict(self.pairs.get(name)), []).append(name)
        return found


def findings(found: ModalComparison) -> Findings:
    """Return the results of pre-training."""
    scores = scores_of(found)
    return Findings(
        seeds=len(scores.get(OURS, {})),
        pairs=against(scores, resolution(found.task)),
        others=tuple(name for name in found.methods if name != OURS),
    )


def scores_of(found: ModalComparison) -> dict[str, dict[int, float]]:
    """Return the test scores of each method by seed, without failed ones."""
    return {
        name: {
            seed.seed: score
            for seed in found.seeds
            if (score := seed.methods[name].score) is not None
        }
        for name in found.methods
    }
