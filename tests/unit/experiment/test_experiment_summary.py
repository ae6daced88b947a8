from __future__ import annotations

from typing import Any

import pytest

from beyondprop.experiment.statistics import fieller
from beyondprop.experiment.summary import recovery, summarise


def record(rule: str, score: float | None, status: str = "finished", **more: Any) -> dict[str, Any]:
    test = None if status != "finished" else {"score": score}
    curve = [{"seconds": 0.5}] * 3
    named = {"rule": {"name": rule}, "seed": 0}
    return {**named, "status": status, "test": test, "curve": curve, **more}


@pytest.mark.parametrize(
    ("rule", "backprop", "frozen", "expected"),
    [
        (0.9, 0.9, 0.5, 1.0),
        (0.5, 0.9, 0.5, 0.0),
        (0.8, 0.9, 0.5, 0.75),
        (0.4, 0.9, 0.5, -0.25),
        (1.0, 0.9, 0.5, 1.25),
        (None, 0.9, 0.5, None),
        (0.8, None, 0.5, None),
        (0.8, 0.9, None, None),
        (0.8, 0.5, 0.5, None),
        (0.8, 0.4, 0.5, None),
    ],
)
def test_recovery(
    rule: float | None, backprop: float | None, frozen: float | None, expected: float | None
) -> None:
    assert recovery(rule, backprop, frozen) == pytest.approx(expected)


def test_rows_follow_from_the_runs() -> None:
    records = [record(r, s) for r, s in (("backprop", 0.9), ("dfa", 0.8), ("frozen", 0.5))]
    second = (("backprop", 1.0), ("dfa", 0.9), ("frozen", 0.55))
    records += [record(rule, score, seed=1) for rule, score in second]
    costs = {"dfa": {"step_seconds": 0.1, "step_ratio": 0.8}}
    backprop, dfa, frozen = summarise(["backprop", "dfa", "frozen"], records, costs)
    assert dfa["score_mean"] == pytest.approx(0.85)
    assert dfa["score_std"] == pytest.approx(0.1 / 2**0.5)
    assert dfa["recovery"] == pytest.approx((0.85 - 0.525) / (0.95 - 0.525))
    assert (backprop["recovery"], frozen["recovery"]) == (1.0, 0.0)
    assert (dfa["step_seconds"], dfa["step_ratio"], dfa["memory_ratio"]) == (0.1, 0.8, None)
    assert backprop["step_ratio"] is None
    assert dfa["train_seconds"] == 1.5


def test_figures_of_several_runs_are_put_together() -> None:
    def with_figures(**values: Any) -> dict[str, Any]:
        return record("dfa", 1.0, measures={"some": {"values": values}})

    runs = [
        with_figures(number=0.2, gap=None, every=True, some=True, range=[0, 1], word="tensors"),
        with_figures(number=0.4, gap=0.5, every=True, some=False, range=[0, 2], word="tensors"),
    ]
    runs.append(record("dfa", 1.0, "diverged", measures={"some": {"values": {"number": 9.0}}}))
    row = summarise(["dfa"], runs, {})[0]
    assert row["number"] == pytest.approx(0.3)
    assert (row["gap"], row["every"], row["some"]) == (0.5, True, False)
    assert (row["range"], row["word"]) == (None, "tensors")
    assert row["alignment"] is row["isolated"] is row["step_ratio"] is None


def test_runs_without_a_result_are_counted_and_not_averaged() -> None:
    records = [record("dfa", 0.8), record("dfa", None, "diverged"), record("dfa", None, "failed")]
    records.append(record("fa", None, "failed", curve=[]))
    dfa, fa = summarise(["dfa", "fa"], records, {})
    assert [dfa[k] for k in ("runs", "finished", "diverged", "failed")] == [3, 1, 1, 1]
    assert (dfa["score_mean"], dfa["score_std"]) == (0.8, None)
    assert [fa[k] for k in ("score_mean", "score_std", "recovery", "alignment")] == [None] * 4
    assert fa["train_seconds"] is None


def test_a_score_that_is_no_number_is_not_averaged() -> None:
    row = summarise(["dfa"], [record("dfa", None), record("dfa", 0.5)], {})[0]
    assert (row["finished"], row["score_mean"]) == (2, 0.5)


def test_a_recovery_has_an_interval_over_the_seeds_that_all_have() -> None:
    scores = {"backprop": [0.95, 0.96, 0.97], "dfa": [0.9, 0.9, 0.92], "frozen": [0.6, 0.62, 0.61]}
    records = [
        record(rule, score, seed=seed)
        for rule, found in scores.items()
        for seed, score in enumerate(found)
    ]
    records.append(record("dfa", 0.1, seed=7))  # without its controls
    dfa = summarise(list(scores), records, {})[1]
    gain = [a - b for a, b in zip(scores["dfa"], scores["frozen"], strict=True)]
    whole = [a - b for a, b in zip(scores["backprop"], scores["frozen"], strict=True)]
    expected = fieller(gain, whole)
    assert expected is not None
    assert dfa["recovery_interval"] == [expected.low, expected.high]


def test_a_recovery_between_controls_that_are_not_told_apart_has_no_interval() -> None:
    scores = {"backprop": [0.9, 0.8, 0.7], "frozen": [0.7, 0.8, 0.9]}
    records = [
        record(rule, score, seed=seed)
        for rule, found in scores.items()
        for seed, score in enumerate(found)
    ]
    assert [row["recovery_interval"] for row in summarise(list(scores), records, {})] == [None] * 2
