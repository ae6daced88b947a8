"""Which settings a rule tries next: the grid moves to where the best lies, the trials grow longer.

The search halves its candidates as it lengthens their trials (successive halving: Jamieson and
Talwalkar 2016), so that the noise of short trials does not choose. At every length it also walks
towards better learning rates until the best one has a worse one on each side. All of it hangs on
the trials' records alone, so that a search that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEW = 3
"""Trials of a length for which the budget is kept while shorter ones are made."""
WALK = 4
"""Steps beyond its candidates that a search takes at a length which is not the last."""
KEPT = 1 / 3
"""Share of the settings of one length that are tried at the next, which is three times longer."""

ALONE = 3.0
"""Ratio of learning rates where a grid has but one."""

Trial = Mapping[str, Any]
"""The record of a trial; see `tuning.record`."""


@dataclass(frozen=True)
class Setting:
    """What a trial tries.

    Attributes:
        optimizer: Its label; "" for the task's own.
        learning_rate: At the start.
    """

    optimizer: str
    learning_rate: float


@dataclass(frozen=True)
class Space:
    """Where a rule searches.

    Attributes:
        rates: For each optimizer the learning rates to begin with, ascending.
        lengths: Of the trials in epochs, ascending.
        budget: What all trials of a rule may cost, in trainings of the last length by backprop.
    """

    rates: Mapping[str, Sequence[float]]
    lengths: Sequence[int]
    budget: float

    def cost(self, epochs: int) -> float:
        """Return what a trial of so many epochs by backprop costs, in those of the last length."""
        return epochs / self.lengths[-1]

    def affordable(self, step_cost: float) -> Sequence[int]:
        """Return the lengths for which the budget lasts: for the grid, then for a few trials."""
        for count in range(len(self.lengths), 1, -1):
            first, *later = (self.cost(epochs) for epochs in self.lengths[:count])
            if step_cost * (first * len(self.grid()) + FEW * sum(later)) <= self.budget:
                return self.lengths[:count]
        return self.lengths[:1]

    def grid(self) -> list[Setting]:
        """Return the settings to begin with, those in the middle of the rates first."""
        settings = [
            (abs(place - (len(rates) - 1) / 2), Setting(optimizer, rate))
            for optimizer, rates in self.rates.items()
            for place, rate in enumerate(rates)
        ]
        return [setting for _, setting in sorted(settings, key=lambda pair: pair[0])]


def wanted(space: Space, trials: Sequence[Trial], step_cost: float) -> list[tuple[Setting, int]]:
    """Return the trials that come next, each a setting and a length; none where the search is over.

    Args:
        space: Where the rule searches.
        trials: The records of its trials so far.
        step_cost: Of one step by the rule, in steps by backprop.
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
    """Return what trials have cost, in trainings of the last length by backprop."""
    return step_cost * sum(space.cost(trial["epochs"]) for trial in trials)


def ranked(tried: Mapping[Setting, Trial]) -> list[Setting]:
    """Return the settings of finished trials, the best first, by their validation scores.

    Scores that lie within one standard error of the highest are not told apart by it: among these
    the lower validation loss is better. A tie goes to the lower learning rate.
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
    """Return the standard error of a share of validation samples; 0 of a score that is none."""
    score, samples = trial["validation_score"], trial.get("validation_samples")
    if not samples or not 0 <= score <= 1:
        return 0.0
    return math.sqrt(score * (1 - score) / samples)


def outward(
    space: Space, tried: Mapping[Setting, Trial], everywhere: bool = False
) -> list[Setting]:
    """Return the neighbours of the best setting that were not tried at its length.

    Where nothing finished and something diverged, it is the next lower learning rate.

    Args:
        space: Where the rule searches.
        tried: The trials of one length.
        everywhere: Of every optimizer's best, not of the best of all alone.
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
    """Return the neighbours of the best of these, or where all diverged the one below."""
    best = ranked(tried)[:1]
    if best:
        return beside(space, best[0])
    diverged = [one for one, trial in tried.items() if trial["status"] == "diverged"]
    below = sorted(diverged, key=lambda one: one.learning_rate)[:1]
    return [beside(space, one)[0] for one in below]


def beside(space: Space, setting: Setting) -> list[Setting]:
    """Return the settings with the next lower and the next higher learning rate.

    Beyond the ends of the grid they follow at the ratio of the two there, at least
    twofold.
    """
    grid = ladder(space.rates[setting.optimizer], setting.learning_rate)
    place = bisect_left(grid, setting.learning_rate)
    ends = grid[place - 1], grid[place + 1]
    return [Setting(setting.optimizer, rate) for rate in ends if 0 < rate < math.inf]


def ladder(rates: Sequence[float], rate: float) -> list[float]:
    """Return a grid, prolonged so that a rate on it has one below and one above."""
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
    """Return a learning rate as people read and type it."""
    return float(f"{rate:.3g}")


def chosen(space: Space, trials: Sequence[Trial]) -> Setting:
    """Return the best setting of the longest trials.

    Where no trial finished it is the lowest learning rate that the first optimizer was tried or
    begins with, where the budget allowed none the middle of the grid.
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
    """Whether the chosen learning rate was not tried between two others, in trials as long.

    So it is where the budget ended first.
    """
    setting = chosen(space, trials)
    longest = max((trial["epochs"] for trial in trials if of(trial) == setting), default=0)
    tried = at(trials, longest)
    return any(one not in tried for one in beside(space, setting))
