"""Which differences of pre-training from other methods are real.

Scores are paired by seed. A difference is real where Student's test of pairs tells it from none,
after Holm over all methods that it is compared with, and its interval leaves out zero.
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
    """What is known of pre-training beside the other methods.

    Attributes:
        seeds: How many have a score of it.
        pairs: How it differs, by the other method's name.
        others: The names of all other methods, in their order.
    """

    seeds: int
    pairs: Mapping[str, Difference]
    others: tuple[str, ...]

    @property
    def unpaired(self) -> list[str]:
        """What it is not compared with, as a seed has no score."""
        return [name for name in self.others if name not in self.pairs]

    def verdicts(self) -> dict[str, list[str]]:
        """Return the methods of each verdict."""
        found: dict[str, list[str]] = {}
        for name in self.others:
            found.setdefault(verdict(self.pairs.get(name)), []).append(name)
        return found


def findings(found: ModalComparison) -> Findings:
    """Return what is known of pre-training."""
    scores = scores_of(found)
    return Findings(
        seeds=len(scores.get(OURS, {})),
        pairs=against(scores, resolution(found.task)),
        others=tuple(name for name in found.methods if name != OURS),
    )


def scores_of(found: ModalComparison) -> dict[str, dict[int, float]]:
    """Return the test scores of each method by seed; what failed is left out."""
    return {
        name: {
            seed.seed: score
            for seed in found.seeds
            if (score := seed.methods[name].score) is not None
        }
        for name in found.methods
    }
