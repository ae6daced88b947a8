from __future__ import annotations

from typing import Any

import pytest

from beyondprop.experiment.statistics import fieller
from beyondprop.experiment.summary import score_interval, spread, summarise


def record(rule: str, score: float | None, status: str = "finished", **more: Any) -> dict[str, Any]:
    test = None if status != "finished" else {"score": score}
    curve = [{"seconds": 0.5}] * 3
    named = {"rule": {"name": rule}, "seed": 0}
    return {**named, "status": status, "test": test, "curve": curve, **more}


def seeds(**scores: list[float | None]) -> list[dict[str, Any]]:
    """Runs of these rules, one score a seed; None is a run that diverged."""
    return [
        record(rule, score, "diverged" if score is None else "finished", seed=seed)
        for rule, found in scores.items()
        for seed, score in enumerate(found)
    ]


APART = {"backprop": [0.95, 0.96, 0.97], "dfa": [0.9, 0.9, 0.92], "frozen": [0.6, 0.62, 0.61]}


def test_rows_follow_from_the_runs() -> None:
    costs = {"dfa": {"step_seconds": 0.1, "step_ratio": 0.8}}
    backprop, dfa, frozen = summarise(["backprop", "dfa", "frozen"], seeds(**APART), costs)
    assert dfa["score_mean"] == pytest.approx(0.90667, abs=1e-5)
    assert dfa["score_std"] == pytest.approx(0.02 / 3**0.5)
    half = 4.302653 * 0.02 / 3  # Student's t, two degrees free
    mean = dfa["score_mean"]
    assert dfa["score_interval"] == pytest.approx([mean - half, mean + half])
    assert dfa["recovery"] == pytest.approx((mean - 0.61) / (0.96 - 0.61))
    assert (backprop["recovery"], frozen["recovery"]) == (1.0, 0.0)
    assert (dfa["step_seconds"], dfa["step_ratio"], dfa["memory_ratio"]) == (0.1, 0.8, None)
    assert backprop["step_ratio"] is None
    assert dfa["train_seconds"] == 1.5


def test_recovery_is_against_the_stronger_lower_control() -> None:
    lower = {"frozen": [0.6, 0.62, 0.61], "linear": [0.7, 0.7, 0.7]}
    rows = summarise([*APART, "linear"], seeds(**APART | lower), {})
    assert {row["recovery_below"] for row in rows} == {"linear"}
    gain = rows[1]["score_mean"] - 0.7
    assert rows[1]["recovery"] == pytest.approx(gain / (0.96 - 0.7))
    assert rows[2]["recovery"] < 0  # frozen, the weaker one
    weaker = summarise([*APART, "linear"], seeds(**APART | {"linear": [0.5, 0.5, 0.5]}), {})
    assert {row["recovery_below"] for row in weaker} == {"frozen"}


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (APART | {"linear": [0.95, 0.97, 0.96]}, "backprop and linear overlap"),
        (APART | {"frozen": [0.99, 0.99, 0.99]}, "backprop is worse than frozen"),
        ({rule: found[:1] for rule, found in APART.items()}, "at least two seeds"),
        ({"dfa": APART["dfa"], "frozen": APART["frozen"]}, "no score of backprop"),
        ({"dfa": APART["dfa"], "backprop": APART["backprop"]}, "no score of frozen or linear"),
    ],
    ids=["overlap", "worse", "one seed", "no backprop", "no lower control"],
)
def test_no_recovery_is_reported_where_the_controls_are_not_told_apart(
    scores: dict[str, list[float | None]], reason: str
) -> None:
    for row in summarise(list(scores), seeds(**scores), {}):
        assert (row["recovery"], row["recovery_interval"]) == (None, None)
        assert reason in row["recovery_reason"]


def test_a_diverged_run_counts_as_chance() -> None:
    scores = APART | {"dfa": [0.9, None, 0.92]}
    dfa = summarise(list(scores), seeds(**scores), {}, chance=0.1)[1]
    assert (dfa["runs"], dfa["finished"], dfa["diverged"]) == (3, 2, 1)
    assert dfa["score_mean"] == pytest.approx((0.9 + 0.1 + 0.92) / 3)
    assert dfa["score_interval"][0] < 0.1  # it is in the interval as well
    assert dfa["recovery"] == pytest.approx((dfa["score_mean"] - 0.61) / 0.35)


def test_an_older_record_has_its_interval_from_the_runs() -> None:
    records = seeds(**APART)
    row = summarise(list(APART), records, {})[1]
    older = {"rule": "dfa", "score_std": row["score_std"]}
    assert score_interval(older, records) == row["score_interval"]
    low, high = row["score_interval"]
    assert spread(older, records) == pytest.approx((high - low) / 2)
    assert spread(older, []) == row["score_std"]


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
    records = [
        record("dfa", score, status, seed=seed)
        for seed, (score, status) in enumerate(
            [(0.8, "finished"), (None, "diverged"), (None, "failed")]
        )
    ]
    records.append(record("fa", None, "failed", curve=[]))
    dfa, fa = summarise(["dfa", "fa"], records, {})
    assert [dfa[k] for k in ("runs", "finished", "diverged", "failed")] == [3, 1, 1, 1]
    assert (dfa["score_mean"], dfa["score_std"]) == (0.8, None)
    assert [fa[k] for k in ("score_mean", "score_std", "recovery", "alignment")] == [None] * 4
    assert fa["train_seconds"] is None


def test_a_score_that_is_no_number_is_not_averaged() -> None:
    row = summarise(["dfa"], [record("dfa", None), record("dfa", 0.5, seed=1)], {})[0]
    assert (row["finished"], row["score_mean"]) == (2, 0.5)


def test_a_recovery_has_an_interval_over_the_seeds_that_all_have() -> None:
    records = seeds(**APART)
    records.append(record("dfa", 0.1, seed=7))  # without its controls
    dfa = summarise(list(APART), records, {})[1]
    gain = [a - b for a, b in zip(APART["dfa"], APART["frozen"], strict=True)]
    whole = [a - b for a, b in zip(APART["backprop"], APART["frozen"], strict=True)]
    expected = fieller(gain, whole)
    assert expected is not None
    assert dfa["recovery"] == expected.value
    assert dfa["recovery_interval"] == [expected.low, expected.high]
