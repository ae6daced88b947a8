"""The search of a rule's settings: the grid moves to the best setting, and trials get longer.

The search reduces its candidates as it lengthens their trials (successive halving: Jamieson and
Talwalkar 2016), so that the noise of short trials does not decide. At every length it also moves
towards better learning rates until the best one has a worse one on each side. It depends only on
the trials' records, so an interrupted search continues like an uninterrupted one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEW = 3
"""Number of trials of each longer length for which shorter trials reserve budget."""
WALK = 4
"""Maximum number of trials in addition to the candidates, at every length except the last."""
KEPT = 1 / 3
"""Share of the settings of one length that are tried at the next length, which is three times as
long."""

ALONE = 3.0
"""Ratio of learning rates for a grid with a single one."""

Trial = Mapping[str, Any]
"""The record of a trial; see `tuning.record`."""


@dataclass(frozen=True)
class Setting:
    """The setting of a trial.

    Attributes:
        optimizer: Label of the optimizer; "" for the task's.
        learning_rate: Initial learning rate.
    """

    optimizer: str
    learning_rate: float


@dataclass(frozen=True)
class Space:
    """The search space of a rule.

    Attributes:
        rates: Initial learning rates for each optimizer, in ascending order.
        lengths: Lengths of the trials in epochs, in ascending order.
        budget: Cost limit of all trials of a rule, in backprop trainings of the last length.
    """

    rates: Mapping[str, Sequence[float]]
    lengths: Sequence[int]
    budget: float

    def cost(self, epochs: int) -> float:
        """Return the cost of a backprop trial of this length, relative to the last length."""
        return epochs / self.lengths[-1]

    def affordable(self, step_cost: float) -> Sequence[int]:
        """Return the lengths that the budget allows.

        It must allow the grid at the first length, and a few trials at each of the others.
        """
        for count in range(len(self.lengths), 1, -1):
            first, *later = (self.cost(epochs) for epochs in self.lengths[:count])
            if step_cost * (first * len(self.grid()) + FEW * sum(later)) <= self.budget:
                return self.lengths[:count]
        return self.lengths[:1]

    def grid(self) -> list[Setting]:
        """Return the initial settings, those in the middle of the rates first."""
        settings = [
            (abs(place - (len(rates) - 1) / 2), Setting(optimizer, rate))
            for optimizer, rates in self.rates.items()
            for place, rate in enumerate(rates)
        ]
        return [setting for _, setting in sorted(settings, key=lambda pair: pair[0])]


def wanted(space: Space, trials: Sequence[Trial], step_cost: float) -> list[tuple[Setting, int]]:
    """Return the next trials, each a setting and a length; none if the search is over.

    Args:
        space: The rule's search space.
        trials: Records of the rule's trials so far.
        step_cost: Cost of a step by the rule, relative to backprop.
    """
    candidates, lengths = space.grid(), space.affordable(step_cost)
    for place, epochs in enumerate(lengths):
        tried, later = at(trials, epochs), lengths[place + 1 :]
        missing = [one for one in candidates if one not in tried]
        if not missing and (not later or len(tried) < len(candidates) + WALK):
            missing = outward(space, tried, everywhere=place == 0)
        kept = step_cost * FEW * sum(map(space.cost, later))
        left = space.budget - kept - spent(space, trials, step_cost)
        count = max(math.floor(left / (step_cost * space.cost(epochs)) + 1e-9), 0)
        if missing[:count]:
            return [(one, epochs) for one in missing[:count]]
        candidates = ranked(tried)[: math.ceil(len(tried) * KEPT)]
    return []


def at(trials: Iterable[Trial], epochs: int) -> dict[Setting, Trial]:
    """Return the trials of one length by their settings."""
    return {of(trial): trial for trial in trials if trial["epochs"] == epochs}


def of(trial: Trial) -> Setting:
    """Return the setting of a trial."""
    return Setting(trial["optimizer"], trial["learning_rate"])


def spent(space: Space, trials: Iterable[Trial], step_cost: float) -> float:
    """Return the cost of trials, in backprop trainings of the last length."""
    return step_cost * sum(space.cost(trial["epochs"]) for trial in trials)


def ranked(tried: Mapping[Setting, Trial]) -> list[Setting]:
    """Return the settings of finished trials, the best first, by their validation scores.

    Scores within one standard error of the highest count as equal: among these, the lower
    validation loss is better. Of equal settings, the lower learning rate is better.
    """
    finished = {one: trial for one, trial in tried.items() if trial["status"] == "finished"}
    if not finished:
        return []
    best = max(finished.values(), key=lambda trial: trial["validation_score"])
    least = best["validation_score"] - error(best)

    def worth(setting: Setting) -> tuple[float, float, float]:
        score, loss = (finished[setting][f"validation_{figure}"] for figure in ("score", "loss"))
        return min(score, least), -loss, -setting.learning_rate

    return sorted(finished, key=worth, reverse=True)


def error(trial: Trial) -> float:
    """Return the standard error of a score that is a share of validation samples, otherwise 0."""
    score, samples = trial["validation_score"], trial.get("validation_samples")
    if not samples or samples < 1 or not 0 <= score <= 1:
        return 0.0
    return math.sqrt(score * (1 - score) / samples)


def outward(
    space: Space, tried: Mapping[Setting, Trial], everywhere: bool = False
) -> list[Setting]:
    """Return the neighbours of the best setting that were not tried at its length.

    If no trial finished and some diverged, this is the next lower learning rate.

    Args:
        space: The rule's search space.
        tried: The trials of one length.
        everywhere: Return the neighbours of each optimizer's best setting, not only of the overall
            best.
    """
    groups = [dict(tried)]
    if everywhere or not ranked(tried):
        groups = [
            {one: trial for one, trial in tried.items() if one.optimizer == name}
            for name in space.rates
        ]
    near = [one for group in groups for one in around(space, group)]
    return [one for one in near if one not in tried]


def around(space: Space, tried: Mapping[Setting, Trial]) -> list[Setting]:
    """Return the neighbours of the best of these, or the next lower one if all diverged."""
    best = ranked(tried)[:1]
    if best:
        return beside(space, best[0])
    diverged = [one for one, trial in tried.items() if trial["status"] == "diverged"]
    below = sorted(diverged, key=lambda one: one.learning_rate)[:1]
    return [beside(space, one)[0] for one in below]


def beside(space: Space, setting: Setting) -> list[Setting]:
    """Return the settings with the next lower and the next higher learning rate.

    Beyond an end of the grid, the ratio of rates is that of the last two, but at least 2.
    """
    grid = ladder(space.rates[setting.optimizer], setting.learning_rate)
    place = bisect_left(grid, setting.learning_rate)
    ends = grid[place - 1], grid[place + 1]
    return [Setting(setting.optimizer, rate) for rate in ends if 0 < rate < math.inf]


def ladder(rates: Sequence[float], rate: float) -> list[float]:
    """Return a grid, extended so that it has rates below and above the given one."""
    grid = list(rates)
    down, up = (max(ratio, 2.0) for ratio in ends(rates))
    while 0 < rate <= grid[0]:
        grid.insert(0, rounded(grid[0] / down))
    while grid[-1] <= rate < math.inf:
        grid.append(rounded(grid[-1] * up))
    return grid


def ends(rates: Sequence[float]) -> tuple[float, float]:
    """Return the ratios of the first two and of the last two rates of a grid."""
    if len(rates) < 2:
        return ALONE, ALONE
    return rates[1] / rates[0], rates[-1] / rates[-2]


def rounded(rate: float) -> float:
    """Return a learning rate rounded to three digits."""
    return float(f"{rate:.3g}")


def chosen(space: Space, trials: Sequence[Trial]) -> Setting:
    """Return the best setting of the longest trials.

    If no trial finished, it is the lowest learning rate among the first optimizer's initial and
    tried ones. If the budget allowed no trial, it is the middle of the grid.
    """
    if not trials:
        return space.grid()[0]
    for epochs in reversed(space.lengths):
        if best := ranked(at(trials, epochs)):
            return best[0]
    name, rates = next(iter(space.rates.items()))
    tried = [of(trial).learning_rate for trial in trials if trial["optimizer"] == name]
    return Setting(name, min([*rates, *tried]))


def at_edge(space: Space, trials: Sequence[Trial]) -> bool:
    """Whether a neighbour of the chosen learning rate was not tried, in trials of the same length.

    The reason is that the budget ended first.
    """
    setting = chosen(space, trials)
    longest = max((trial["epochs"] for trial in trials if of(trial) == setting), default=0)
    tried = at(trials, longest)
    return any(one not in tried for one in beside(space, setting))
