"""The tables of comparisons, from records with chosen scores."""

from typing import Any

import pytest

from benchmarks.comparisons import tables
from tests.unit.benchmarks.comparisons import made

APART = {
    "backprop": [0.90, 0.91, 0.92],
    "fa": [0.80, 0.81, 0.82],
    "frozen": [0.70, 0.71, 0.72],
}


def column(cells: tables.Cells, head: str) -> list[str]:
    heads, rows = cells
    return [row[list(heads).index(head)] for row in rows]


def test_a_score_has_half_of_students_interval_and_a_recovery_its_own() -> None:
    cells = tables.compare(made.record(APART))
    # Deviation 0.01 of three: 4.3027 · 0.01 / √3 = 2.48 points.
    assert column(cells, "test accuracy") == ["91.0% ± 2.5", "81.0% ± 2.5", "71.0% ± 2.5"]
    assert column(cells, "recovery") == ["100%", "50% (50% to 50%)", "0%"]
    assert column(cells, "alignment") == ["0.00"] * 3


def test_no_recovery_where_the_controls_intervals_overlap() -> None:
    close = APART | {"frozen": [0.89, 0.90, 0.91]}
    assert column(tables.compare(made.record(close)), "recovery") == ["–"] * 3


def test_the_stronger_lower_control_counts_and_the_other_has_no_recovery() -> None:
    linear = APART | {"linear": [0.76, 0.76, 0.76]}
    cells = tables.compare(made.record(linear))
    assert column(cells, "recovery")[2:] == ["–", "0%"]
    assert tables.rule("fa", {"made": made.record(linear)})[1][0][1] == "76.0% ± 0.0 (linear)"


def test_a_mark_where_a_search_ended_at_an_edge_also_in_older_records() -> None:
    searches = {"backprop": made.search(), "fa": made.search(edge=True)}
    new = made.record(APART, searches)
    assert column(tables.compare(new), "rule") == ["backprop", "fa †", "frozen"]
    old = made.record(APART)
    old["tuning"]["chosen"]["frozen"] = 1.0
    assert column(tables.compare(old), "rule") == ["backprop", "fa", "frozen †"]
    assert tables.rule("fa", {"made": old})[1][0][1] == "71.0% ± 2.5 † (frozen)"


def test_runs_that_diverged_stay_in_the_count() -> None:
    broken = made.record(APART | {"fa": [0.8, None, 0.8]})
    assert column(tables.compare(broken), "runs finished")[1] == "2 of 3, 1 diverged"


def test_the_optimizer_is_shown_where_the_search_chose_one() -> None:
    searches = {rule: made.search("adam") for rule in ("backprop", "fa")}
    record = made.record(APART, searches)
    assert "optimizer and rate" not in tables.compare(record)[0]
    assert tables.by_optimizer(record) is None
    record = record | {"tuning": dict(record["tuning"])}
    record["tuning"]["trials"] = [
        made.trial("backprop", 0.1, "sgd", score=0.8),
        made.trial("backprop", 0.1, "adam", score=0.7),
        made.trial("backprop", 0.01, "adam", epochs=1, score=0.9),
        made.trial("fa", 0.01, "adam", score=0.6),
        made.trial("fa", 0.1, "adam", score=0.65),
    ]
    assert column(tables.compare(record), "optimizer and rate") == ["adam 0.1", "adam 0.1", "–"]
    heads, rows = tables.by_optimizer(record) or ((), ())
    assert heads == ("rule", "sgd", "adam")
    assert rows == [
        ["backprop", "80.0% (4 epochs, rate 0.1)", "70.0% (4 epochs, rate 0.1)"],
        ["fa", "–", "65.0% (4 epochs, rate 0.1)"],
    ]


def test_comparisons_side_by_side() -> None:
    both = {"sgd": made.record(APART), "adam": made.record({"backprop": [0.5, 0.5, 0.5]})}
    heads, rows = tables.side_by_side(both)
    assert heads == ("rule", "sgd", "recovery", "adam", "recovery")
    assert rows[0] == ["backprop", "91.0% ± 2.5", "100%", "50.0% ± 0.0", "–"]
    assert rows[1][3:] == ["–", "–"]


def test_a_page_of_a_rule_has_the_tasks_that_it_was_compared_on() -> None:
    records = {"with": made.record(APART), "without": made.record({"backprop": [0.5, 0.5]})}
    rows = tables.rule("fa", records)[1]
    assert [row[0] for row in rows] == ["with"]
    assert rows[0][1:4] == ["71.0% ± 2.5 (frozen)", "81.0% ± 2.5", "91.0% ± 2.5"]
    assert rows[0][-1] == "3"
    assert tables.rule("frozen", records)[1] == [
        ["with", "–", "71.0% ± 2.5", "91.0% ± 2.5", "69%", "3"]
    ]


def test_saved_errors_come_from_scores_as_recorded() -> None:
    assert tables.saved(0.99994, 0.99996) == pytest.approx(1 / 3)  # both are 99.99% as text
    assert tables.saved(0.5, 1.0) == 1
    assert tables.saved(0.9, 0.8) == pytest.approx(-1)
    assert tables.saved(1.0, 1.0) is None
    assert tables.saved(None, 1.0) is None


def aligned(rule: str, seed: int, ends: list[tuple[float, float | None]]) -> dict[str, Any]:
    run = made.run(rule, seed, 0.9)
    for point, (norm, cosine) in zip(run["curve"], ends, strict=True):
        blocks = {"gradient_norm": {"a": norm}, "cosine": {"a": cosine}}
        point |= {"step": 0, "measures": {"alignment": {"blocks": blocks}}}
    return run


def test_alignment_by_block_is_the_mean_over_seeds_at_both_ends() -> None:
    record = made.record({"backprop": [0.9, 0.9], "dfa": [0.8, 0.8]})
    record["runs"] = [
        aligned("backprop", 0, [(2.0, 1.0), (0.5, 1.0)]),
        aligned("backprop", 1, [(2.0, 1.0), (0.7, 1.0)]),
        aligned("dfa", 0, [(1.0, 0.0), (3.0, 0.2)]),
        aligned("dfa", 1, [(3.0, -0.5), (5.0, None)]),
    ]
    cells = tables.by_block("dfa", record)
    assert cells[1] == [["a", "2", "0.6", "4", "−0.25", "–"]]
