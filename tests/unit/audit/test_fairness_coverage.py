"""How often the intervals of differences hold the truth, over simulated people."""

import numpy as np
import pytest

from beyondprop.audit.fairness.decisions import Decisions
from beyondprop.audit.fairness.resampling import intervals

SMALL = (40, 80, 200, 100, 1500)
CASES = {
    "two alike": ((600, 1300), (0.25,) * 2, (0.6,) * 2, (0.1,) * 2),
    "five alike": (SMALL, (0.25,) * 5, (0.6,) * 5, (0.1,) * 5),
    "two apart": ((600, 1300), (0.12, 0.3), (0.5, 0.65), (0.03, 0.1)),
    "five apart": (
        SMALL,
        (0.12, 0.25, 0.12, 0.12, 0.26),
        (0.4, 0.6, 0.55, 0.5, 0.6),
        (0.02, 0.1, 0.04, 0.03, 0.09),
    ),
}
"""Sizes of groups, their shares in the favourable class, and true and false positive rates."""


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_about_as_often_as_they_say(case: str) -> None:
    sizes, base, true, false = map(np.array, CASES[case])
    generator, times = np.random.default_rng(0), 120
    wanted = {
        "demographic_parity_difference": np.ptp(base * true + (1 - base) * false),
        "accuracy_difference": np.ptp(base * true + (1 - base) * (1 - false)),
        "equalized_odds_difference": max(np.ptp(true), np.ptp(false)),
    }
    held = dict.fromkeys(wanted, 0)
    group = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(times):
        truth = generator.random(len(group)) < base[group]
        chosen = generator.random(len(group)) < np.where(truth, true[group], false[group])
        names = tuple(map(str, range(len(sizes))))
        people = Decisions(truth, chosen, np.where(chosen, 0.8, 0.3), group, names)
        found = intervals(people, draws=200, seed=seed)[0]
        for name, value in wanted.items():
            ends = found[name]
            assert ends is not None
            held[name] += ends.low - 1e-9 <= value <= ends.high + 1e-9
    assert held["demographic_parity_difference"] >= 0.87 * times
    assert held["accuracy_difference"] >= 0.87 * times
    # Ten people of a group of forty are truly in the favourable class: too few for any interval.
    least = 0.75 if len(sizes) == 5 else 0.87
    assert held["equalized_odds_difference"] >= least * times
