import json
from pathlib import Path

import pytest
import torch

from benchmarks.common.recovery import recovery
from benchmarks.projections import many_classes
from benchmarks.projections.timing import Sizes
from beyondprop.projections import Signs, Sketched

pytest.importorskip("numba", reason="the fused loops need numba")


def test_wide_errors_are_timed_and_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_classes, "ERROR", Sizes(3000, 64, 8))
    monkeypatch.setattr(many_classes, "CLASSES", 100)
    tried = []
    learned = many_classes.learned

    def noted(rule, steps, seed, rate):
        tried.append((seed, rate))
        return learned(rule, steps, seed, rate)

    monkeypatch.setattr(many_classes, "learned", noted)
    output = tmp_path / "wide.json"
    many_classes.main(rounds=2, steps=3, repeats=2, threads=1, output=output)
    rows = json.loads(output.read_text())["rows"]
    times = [row for row in rows if row["part"] == "time"]
    assert [(row["way"], row["ratio"] == 1) for row in times] == [
        ("dense", True),
        ("sketched", False),
    ]
    learning = {row["way"]: row for row in rows if row["part"] == "learning"}
    assert list(learning) == list(many_classes.METHODS)
    assert [mean for mean, _ in learning["backprop"]["alignment"]] == pytest.approx([1, 1])
    assert learning["frozen"]["alignment"] == []
    assert all(len(row["accuracies"]) == 2 for row in learning.values())
    seeds = [1000, 1000, 1000, 0, 1]
    assert [seed for seed, _ in tried] == seeds * len(learning)
    rates = [row["rate"] for row in learning.values()]
    assert [rate for seed, rate in tried if seed < 1000] == [r for r in rates for _ in range(2)]
    low, high = (learning[way]["accuracy"] for way in ("frozen", "backprop"))
    for row in learning.values():
        expected = recovery(row["accuracy"], high, low)
        assert row["recovery"] == expected
    assert (
        f"| learning | frozen | – | – | {learning['frozen']['rate']:g} | – |"
        in output.with_suffix(".md").read_text()
    )


def test_the_sketch_of_the_benchmark_is_what_it_says() -> None:
    rule = many_classes.METHODS["sketched, 256 buckets"](3)
    assert rule.projection == Sketched(seed=3, inner=Signs(seed=3, shared=True), buckets=256)


def test_learning_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_classes, "CLASSES", 50)
    first = many_classes.learned(many_classes.METHODS["dense"](1), 2, 1, 1e-3)
    torch.manual_seed(99)
    assert many_classes.learned(many_classes.METHODS["dense"](1), 2, 1, 1e-3) == first
    assert many_classes.learned(many_classes.METHODS["dense"](2), 2, 2, 1e-3) != first


def test_the_best_rate_of_the_tuning_seed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:

    def learned(_rule, _steps, seed, rate):
        best = abs(rate - 3e-3) < 1e-9 if seed == many_classes.TUNING_SEED else rate > 5e-3
        return float(best), [0.5]

    monkeypatch.setattr(many_classes, "learned", learned)
    assert {row["rate"] for row in many_classes.learning(5, range(2))} == {3e-3}
