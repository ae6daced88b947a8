"""Significant differences of healed networks, by budget.

Scores are paired by seed: the healed network of a seed, its teacher, and the same network with
other training. A difference is significant by Student's paired t-test, after Holm's correction over
the pairs of its budget.
"""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.experiment.statistics import Difference, differences
from beyondprop.neighbourhoods import TEACHER
from beyondprop.report.differences import resolution
from beyondprop.report.distilled.records import HEALED, MERGED, Distillation


@dataclass(frozen=True)
class Finding:
    """The results of the healed networks within one budget.

    Attributes:
        budget: The share of operations that may be kept.
        seeds: The number of seeds with an assembly within it.
        differences: From the teacher and from every other method, by names as people read them.
        unpaired: The names that are not compared, because the score of a seed is missing.
    """

    budget: float
    seeds: int
    differences: tuple[Difference, ...]
    unpaired: tuple[str, ...]

    def of(self, other: str) -> Difference | None:
        """Return the difference from the teacher or another method; None if unknown."""
        return next((each for each in self.differences if each.second == other), None)


def findings(found: Distillation) -> list[Finding]:
    """Return the results of each budget, in their order."""
    return [_finding(found, place) for place in range(len(found.budgets))]


def scores_at(found: Distillation, place: int) -> dict[str, list[float | None]]:
    """Return the scores of the teacher and of each method within a budget, one per seed with an
    assembly.
    """
    seeds = found.known(place)
    scores: dict[str, list[float | None]] = {TEACHER: [each.score for each in seeds]}
    for way, name in found.ways.items():
        ways = [each.assemblies[place].ways.get(way) for each in seeds]
        scores[name] = [None if each is None else each.score for each in ways]
    return scores


def _finding(found: Distillation, place: int) -> Finding:
    scores = scores_at(found, place)
    whole = {name: [v for v in of if v is not None] for name, of in scores.items()}
    seeds = len(found.known(place))
    others = [name for name in scores if name not in (HEALED, MERGED)]
    result = found.result
    paired = [name for name in others if seeds == len(whole[name]) == len(whole[result])]
    pairs, step = [(result, name) for name in paired], resolution(found.task)
    return Finding(
        budget=found.budgets[place],
        seeds=seeds,
        differences=tuple(differences(whole, 0.0, step, pairs)) if seeds > 1 else (),
        unpaired=tuple(name for name in others if name not in paired),
    )
