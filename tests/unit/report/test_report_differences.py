"""Which differences are real, in words made from the scores of runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from report_records import compare, run

from beyondprop.report.differences import told_apart
from beyondprop.report.read import read_comparison


def comparison(**scores: list[float]) -> Any:
    """Return a comparison whose runs have these test scores, one a seed."""
    runs = []
    for rule, found in scores.items():
        for seed, score in enumerate(found):
            one = run(rule, seed)
            one["test"]["score"] = score
            runs.append(one)
    return read_comparison(compare(runs))


def test_real_differences_are_told_from_noise() -> None:
    told = told_apart(
        comparison(
            backprop=[0.95, 0.952, 0.949, 0.951],
            dfa=[0.90, 0.903, 0.899, 0.902],
            drtp=[0.90, 0.902, 0.901, 0.900],
        )
    )
    by = "t-tests paired by seed, 95%, after Holm's correction for 3 pairs"
    assert told[0].startswith(f"Significant differences ({by})")
    assert "backprop over DFA (by 4.9 ± 0.2 points)" in told[0]
    assert len(told) == 2
    assert told[1] == "No significant difference: DFA and DRTP (0.0 ± 0.3 points)."


def test_differences_of_controls_come_first() -> None:
    told = told_apart(
        comparison(
            backprop=[0.95, 0.952, 0.949, 0.951],
            frozen=[0.90, 0.903, 0.899, 0.902],
            dfa=[0.99, 0.992, 0.989, 0.991],
        )
    )
    assert "pairs): backprop over frozen (by 4.9 ± 0.2 points), DFA over frozen" in told[0]


def test_few_seeds_say_so() -> None:
    told = told_apart(comparison(backprop=[0.9, 0.92, 0.91], frozen=[0.5, 0.53, 0.5]))
    assert told[-1] == "With 3 seeds, only large differences can be significant."


@pytest.mark.parametrize("seeds", [1, 2])
def test_nothing_is_said_of_one_seed_or_of_runs_that_are_no_comparison(seeds: int) -> None:
    found = comparison(backprop=[0.9, 0.8][:seeds], frozen=[0.5, 0.6][:seeds])
    assert told_apart(replace(found, controlled=seeds == 1)) == []
