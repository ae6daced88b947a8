"""The lower controls, chance and intervals, as the report tells them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from html_tree import read
from report_records import compare, diverge, measured, run

from beyondprop import report
from beyondprop.experiment.summary import summarise
from beyondprop.experiment.table import recovery
from beyondprop.files import read_json
from beyondprop.report.differences import paired_scores
from beyondprop.report.failures import failures
from beyondprop.report.headline import headline, summary
from beyondprop.report.read import read_comparison
from beyondprop.report.records import Comparison
from beyondprop.report.table import caption, lines, run_lines

RECORDS = sorted((Path(__file__).parents[3] / "results" / "comparisons").glob("*.json"))
SCORES = {
    "backprop": [0.979, 0.98, 0.978],
    "dfa": [0.968, 0.967, 0.969],
    "frozen": [0.93, 0.931, 0.929],
    "linear": [0.94, 0.94, 0.94],
}


def solved(converged: bool = True) -> dict[str, Any]:
    return {"penalty": 1e-3, "penalties": [1e-5, 1.0], "edge": None, "converged": converged}


def record(**scores: list[float]) -> dict[str, Any]:
    """A comparison with these scores, whose frozen and linear runs were solved."""
    runs = []
    for rule, found in scores.items():
        for seed, score in enumerate(found):
            one = run(rule, seed, epochs=1 if rule in ("frozen", "linear") else 6)
            one["test"]["score"] = score
            if rule in ("frozen", "linear"):
                one |= {"head": solved(), "learning_rate": None}
            runs.append(one)
    return compare(runs)


def with_rows(found: dict[str, Any], chance: float = 0.1) -> dict[str, Any]:
    """Return the comparison with the rows that follow from its runs."""
    found = measured(found)
    names = [row["rule"] for row in found["rows"]]
    found["rows"] = summarise(names, found["runs"], {}, (), chance)
    found["chance"] = {"score": chance, "of": "the best constant output"}
    return found


def comparison(**scores: list[float]) -> Comparison:
    return read_comparison(with_rows(record(**scores)))


def test_recovery_is_told_against_the_stronger_control() -> None:
    found = comparison(**SCORES)
    assert (
        headline(found)
        == "DFA recovers 72% (62% to 83%) of what backprop gains over a linear model on the inputs"
    )
    told = " ".join(summary(found))
    assert "with frozen hidden layers 93.0% and a linear model on the inputs 94.0%." in told
    assert "Chance is 10.0%: the best constant output." in told


@pytest.mark.parametrize(
    ("dfa", "told"),
    [
        ([0.985, 0.979, 0.986], "DFA does not differ significantly from backprop"),
        (
            [0.978, 0.98, 0.974],
            "DFA (recovery 96%, 81% to 108%) does not differ significantly from backprop",
        ),
        ([0.999, 1.0, 0.998], "DFA scores above backprop"),
    ],
)
def test_what_does_not_differ_from_backprop_is_told_in_words_and_no_gain(
    dfa: list[float], told: str
) -> None:
    found = comparison(**SCORES | {"dfa": dfa})
    assert headline(found) == told
    (line,) = (each for each in lines(found) if each.rule == "dfa")
    assert "to" in line.range  # the table keeps the interval


def test_a_share_above_all_that_is_not_tested_is_no_gain_either() -> None:
    found = comparison(**SCORES | {"dfa": [0.99, 0.99, 0.99]})
    alone = replace(found, seeds=found.seeds[:1])
    assert headline(alone) == "DFA scores no lower than backprop"


def test_what_differs_from_backprop_comes_behind_what_does_not() -> None:
    found = comparison(**SCORES | {"fa": [0.985, 0.979, 0.986], "drtp": [0.9, 0.901, 0.899]})
    assert headline(found) == (
        "FA does not differ significantly from backprop; DFA recovers 72% (62% to 83%) of what"
        " backprop gains over a linear model on the inputs; DRTP scores below linear"
    )


def test_without_recovery_the_reason_is_told() -> None:
    found = comparison(**SCORES | {"linear": [0.979, 0.979, 0.979]})
    told = summary(found)
    reason = "the 95% intervals of backprop and linear overlap"
    assert told[0].endswith(f"No recovery is reported, because {reason}.")
    assert {line.recovery for line in lines(found)} == {"–"}


def test_where_the_controls_overlap_the_headline_has_no_figure() -> None:
    alike = SCORES | {"linear": [0.979, 0.979, 0.979]}
    found = comparison(**alike)
    assert (
        headline(found)
        == "On digits-mlp the confidence intervals of backprop and a linear model on the inputs"
        " overlap"
    )
    early = record(**alike)  # from before recoveries had intervals: they are left out
    shown = read_comparison(early)
    assert shown.overlap
    assert all(row.recovery is None for row in shown.rows)
    assert "%" not in headline(shown)
    assert "overlap" in (shown.no_recovery or "")


def test_a_control_that_is_better_than_backprop_is_told_so() -> None:
    found = comparison(**SCORES | {"linear": [0.999, 0.999, 0.999]})
    assert headline(found) == "On digits-mlp backprop is worse than a linear model on the inputs"


def test_the_reason_says_which_control_is_better() -> None:
    above, same = (SCORES | {"linear": [score] * 3} for score in (0.999, 0.979))
    reason = "backprop is worse than linear: the 95% interval of linear lies above it"
    old = "the 95% intervals of backprop and linear overlap, or linear is better"
    for scores, why in (
        (above, reason),
        (same, "the 95% intervals of backprop and linear overlap"),
    ):
        record_ = with_rows(record(**scores))
        assert read_comparison(record_).no_recovery == why
        for row in record_["rows"]:
            row["recovery_reason"] = old  # as in records of earlier versions
        assert read_comparison(record_).no_recovery == why


def test_the_intervals_are_in_the_table() -> None:
    found = comparison(**SCORES)
    assert [line.deviation for line in lines(found)] == ["± 0.2", "± 0.2", "± 0.2", "± 0.0"]
    assert caption(found).startswith("± is half of the 95% interval over seeds (Student's t).")


def test_a_diverged_run_is_told_to_count_as_chance() -> None:
    found = record(**SCORES)
    broken = next(each for each in found["runs"] if each["rule"]["name"] == "dfa")
    diverge(broken, epoch=3)
    shown = read_comparison(with_rows(found))
    told = failures(shown)
    assert told is not None
    assert told.summary == "Of 12 runs, 1 did not finish: 1 diverged with DFA"
    assert told.rules[0].effect.endswith("diverged runs count as chance in its score.")
    assert "A diverged run counts as chance in the mean." in caption(shown)
    assert paired_scores(shown)["dfa"] == [0.1, 0.967, 0.969]


def test_a_rule_without_enough_seeds_is_told_to_be_left_out() -> None:
    found = record(**SCORES)
    for each in found["runs"]:
        if each["rule"]["name"] == "dfa" and each["seed"] > 0:
            each |= {"status": "failed", "reason": "no room", "test": None}
    kept = with_rows(found)
    shown = read_comparison(kept)
    assert "Not compared, because the score of a seed is missing: DFA." in summary(shown)
    assert shown.no_recovery is None
    assert "none, because too few seeds (1) have scores of dfa" in recovery(kept["rows"])


def test_chance_that_is_not_known_is_told() -> None:
    found = with_rows(record(**SCORES))
    found["chance"] = {"score": None, "of": "not known (no such score)"}
    assert "Chance is not known (no such score)." in summary(read_comparison(found))


def test_a_head_that_is_not_solved_is_told() -> None:
    found = record(**SCORES)
    for each in found["runs"]:
        if each["rule"]["name"] == "frozen":
            each["head"] = "trained by steps: the schedule is immediate"
        if each["rule"]["name"] == "linear":
            each["head"] = solved(converged=False)
    told = summary(read_comparison(with_rows(found)))
    assert "Frozen is trained by steps: the schedule is immediate." in told
    assert "The last layer of linear is not solved to convergence." in told


def test_a_penalty_at_an_open_end_is_told() -> None:
    found = with_rows(record(**SCORES))
    edge = "the lowest penalty, and a lower one may be better"
    for each in found["runs"]:
        if each["rule"]["name"] == "frozen":
            each["head"] = solved() | {"edge": edge, "settled": False}
    assert f"The penalty of the last layer of frozen is {edge}." in summary(read_comparison(found))


def test_a_solved_run_has_no_epochs_no_rate_and_a_flat_line() -> None:
    found = with_rows(record(**SCORES))
    rows = {line.rule: line for line in run_lines(read_comparison(found))}
    assert (rows["frozen"].epochs, rows["frozen"].rate) == ("solved", "–")
    assert rows["backprop"].epochs == "6"
    page = report.render(found)
    assert (
        "The last layer of frozen and linear was solved, not trained, so the lines are flat."
        in page
    )
    assert "6 epochs" in page  # of those that were trained
    assert read(page) is not None


@pytest.mark.parametrize("path", RECORDS, ids=[path.stem for path in RECORDS])
def test_records_from_before_intervals_are_rendered_with_theirs(path: Path) -> None:
    found = read_comparison(read_json(path) or {})
    assert caption(found).startswith("± is half of the 95% interval")
    assert any(row.score_interval for row in found.rows) == (len(found.seeds) > 1)
    assert summary(found)
