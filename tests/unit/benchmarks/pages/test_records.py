"""What the records must show: the bars that were set, held against what was measured."""

from typing import Any

from benchmarks.common.records import load
from benchmarks.models.trial import ENOUGH, TEACH
from benchmarks.models.zoo import MODELS


def rows(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = load(name)["rows"]
    return found


def test_a_million_numbers_to_a_million_within_25_ms_and_at_4_billion_entries_a_second() -> None:
    wide = [row for row in rows("projections/timing") if row["outputs"] >= 10**6]
    found = {(row["kind"], row["batch"]): row for row in wide}
    assert found["hadamard", 1]["seconds"] < 0.025
    assert found["streamed", 1]["entries_per_second"] > 4e9
    assert {batch for _, batch in found} == {1, 64}


def test_a_sketch_of_50_000_classes_takes_at_most_a_seventh_of_the_time() -> None:
    found = {(row["part"], row["way"]): row for row in rows("projections/many_classes")}
    assert found["time", "sketched"]["ratio"] < 0.15


def test_ternary_errors_are_within_0_7_points_of_exact_feedback() -> None:
    """With a magnitude for each sign on both; with one for all, as published, on MNIST."""
    less = {(r["data_set"], r["way"]): r["less"] for r in rows("optics/accuracy")}
    assert less["mnist", "ternary, threshold 0.75"] < 0.7
    for name in ("mnist", "fashion"):
        assert less[name, "uneven ternary, threshold 0.25"] < 0.7


def test_errors_fall_with_the_root_of_the_photons() -> None:
    slopes = [r["measured"] for r in rows("optics/theory") if r["part"] == "slope"]
    assert len(slopes) == 4
    assert all(abs(slope + 0.5) < 0.005 for slope in slopes)


def test_at_most_one_pair_of_model_and_rule_in_ten_is_refused_and_each_says_why() -> None:
    found = rows("models/coverage")
    assert {(r["model"], r["rule"]) for r in found} == {(m, r) for m in MODELS for r in TEACH}
    assert sum(not row["taught"] for row in found) <= len(found) / 10
    for row in found:
        assert row["taught"] == (row["share"] >= ENOUGH)
        assert row["taught"] != bool(row["refused"])


def test_steps_of_target_and_dual_propagation_take_longer_than_backprops() -> None:
    for name in ("digits-mlp-states", "mnist-mlp-states"):
        ratios = {row["rule"]: row["step_ratio"] for row in rows(f"comparisons/{name}")}
        assert min(ratios["dtp"], ratios["dualprop"]) > max(1, ratios["backprop"])
