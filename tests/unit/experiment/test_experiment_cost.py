from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from experiment_tasks import BLOBS
from rich.progress import Progress

from beyondprop.experiment import CompareSpec, cost
from beyondprop.experiment.cost import measure_costs, step_of
from beyondprop.experiment.plan import plan_compare
from beyondprop.experiment.progress import bars
from beyondprop.measure import PeakMemory

TRAIN = BLOBS.load(None).train


def test_a_step_can_be_sent_to_another_process() -> None:
    plan = plan_compare(CompareSpec(), BLOBS, "blobs")
    for rule in (None, *plan.rules):
        build = pickle.loads(pickle.dumps(step_of(plan, BLOBS, TRAIN, rule, 0.01)))
        build()()


def test_a_task_that_cannot_travel_has_no_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "ROUNDS", 2)
    plan = plan_compare(CompareSpec(), BLOBS, "blobs")
    task = replace(BLOBS, model=lambda: BLOBS.model())
    found = measure_costs(plan, task, TRAIN, {"dfa": 0.01, "fa": 0.1}, bars())
    assert [set(figures) for figures in found.values()] == [{"step_seconds", "step_ratio"}] * 2
    assert all(value and value > 0 for figures in found.values() for value in figures.values())
    assert "peak memory is not measured: " in capsys.readouterr().err


def test_memory_is_relative_to_plain_pytorch(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "ROUNDS", 2)
    peaks = iter([PeakMemory(100, None, ""), PeakMemory(150, None, ""), PeakMemory(50, None, "")])
    monkeypatch.setattr(cost, "peak_memory", lambda *_, **__: next(peaks))
    plan = plan_compare(CompareSpec(), BLOBS, "blobs")
    rates = {"fa": 0.1, "frozen": 0.1}
    found = measure_costs(plan, BLOBS, TRAIN, rates, progress)
    assert [found[rule]["memory_ratio"] for rule in rates] == [1.5, 0.5]
    assert [found[rule]["memory_bytes"] for rule in rates] == [150, 50]
