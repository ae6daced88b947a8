"""What the records show of each claim follows the records."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.common.records import ROOT
from benchmarks.pages import claims, tables

PAGE = (ROOT / "docs" / "claims.md").read_text("utf-8")


def changed(change: Callable[[dict[str, Any]], None]) -> claims.Load:
    """Records of which each row is changed."""

    def load(name: str) -> dict[str, Any]:
        record = copy.deepcopy(tables.load(name))
        for row in record["rows"]:
            change(row)
        return record

    return load


@pytest.mark.parametrize("section", PAGE.split("\n## ")[1:], ids=lambda text: text.split("\n")[0])
def test_each_claim_has_a_source_and_a_record_or_a_limit(section: str) -> None:
    assert section.count("*Claimed") == 1
    assert section.count("*Limit.*") == 1
    assert "<!-- table " in section or "No record" in section


def test_each_claim_is_on_the_page() -> None:
    named = set(re.findall(r"<!-- table claim (\S+) -->", PAGE))
    assert named == {"random-feedback", *claims.CLAIMS}


@pytest.mark.parametrize(
    ("recovery", "interval", "said"),
    [
        (0.9, [0.6, 1.2], "more than half"),
        (0.6, [0.1, 1.1], "some of the gain"),
        (0.4, [-0.1, 0.9], "no significant gain over the better baseline"),
        (-1.0, [-2.0, -0.5], "no significant gain over the better baseline"),
        (None, None, "not reported, because no interval is recorded"),
        (0.7, None, "not reported"),
    ],
)
def test_recovery_is_read_by_its_whole_interval(
    recovery: float | None, interval: list[float] | None, said: str
) -> None:
    load = changed(lambda row: row.update(recovery=recovery, recovery_interval=interval))
    text = claims.random_feedback(load, {"a network": "fashion-small"})
    (line,) = [each for each in text.splitlines() if each.startswith("- ")]
    assert said in line
    assert line.endswith(": a network")


def test_a_step_is_told_beside_its_limit() -> None:
    load = changed(lambda row: row.update(flop_limit=0.123))
    assert "lower bound is 0.12 of" in claims.parallel_backward(load)


def test_light_is_told_by_whole_steps() -> None:
    def doubled(row: dict[str, Any]) -> None:
        if row["part"] == "size":
            row["step_seconds"] = {"light": 2.0, "dense": 1.0}
            row["hadamard_seconds"] = 2 * row["light_seconds"]

    said = claims.light(changed(doubled))
    assert "takes 2.00 of the time at best" in said
    assert "in 0 of" in said


def test_convolutions_are_told_by_whole_intervals() -> None:
    def worse(row: dict[str, Any]) -> None:
        if row["rule"] == "kp":
            row["recovery_interval"] = [-0.1, 0.2]
        if row["rule"] == "fa":
            row.update(finished=row["runs"], recovery_interval=[-0.1, 0.2])

    assert claims.convolutions(tables.load).count("`kp`") == 2
    said = claims.convolutions(changed(worse))
    assert "`kp`" not in said
    assert said.count("`fa` is not significantly different from it") == 2


def test_runs_that_diverge_are_told_to_do_so() -> None:
    def lost(row: dict[str, Any]) -> None:
        row["finished"] = row["runs"] - 1

    load = changed(lost)
    assert "`dfa` diverges in 1 of 3 runs" in claims.convolutions(load)
    assert "- diverged or failed in 1 of 5 runs: a network" in claims.random_feedback(
        load, {"a network": "fashion-small"}
    )


def test_memory_and_forgetting_are_those_of_the_records() -> None:
    assert "to 5 MB" in claims.memory(changed(lambda row: row.update(bytes=5e6)))
    assert "forgets 12%" in claims.forgetting(changed(lambda row: row.update(forgetting=0.12)))
    said = claims.eight_values(changed(lambda row: row.update(test_accuracy=0.5, deviation=0.01)))
    assert said.startswith("On MNIST 50.00% ± 1.00 with eight values")


def test_pieces_that_reach_the_score_of_the_whole_are_counted() -> None:
    def better(row: dict[str, Any]) -> None:
        row["scores"]["merged"] = 1.0

    assert "in 0 of 3 seeds" in claims.pieces(tables.load)
    assert "in 3 of 3 seeds" in claims.pieces(changed(better))


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "From more starts than backprop: `fa`"), (0.5, "None exceeds backprop.")],
)
def test_a_rule_that_reaches_the_minimum_more_often_is_named(share: float, said: str) -> None:
    def reaching(row: dict[str, Any]) -> None:
        row["share"] = share if row["way"] == "fa" else 0.5

    text = claims.local_minima(changed(reaching))
    assert text.count(said) == len({row["problem"] for row in tables.load("audit/minima")["rows"]})


def test_robustness_is_told_at_the_greatest_change_beside_no_attack() -> None:
    def attacked(row: dict[str, Any]) -> None:
        row.update(through=[0.6, 0.5, 0.45], exact=[0.6, 0.2, 0.1])

    text = claims.robustness(changed(attacked))
    said = "`fa` 45.0 ± 0.0% under an attack through its own graph, 10.0 ± 0.0% under exact"
    assert "(60.0 ± 0.0% without an attack)" in text
    assert said in text
