from __future__ import annotations

import pickle
import sys
from dataclasses import replace

import pytest
from experiment_tasks import BLOBS
from rich.progress import Progress
from tests import internals

import beyondprop.measure.memory as memory
from beyondprop.experiment import CompareSpec
from beyondprop.experiment.cost import batch_of, measure_costs, step_of
from beyondprop.experiment.plan import plan_compare
from beyondprop.jobs.progress import bars
from beyondprop.measure import MEASURES, PeakMemory, StepTimeMeasure, Subject

TRAIN = BLOBS.load(None).train


def test_a_step_can_be_sent_to_another_process() -> None:
    plan = plan_compare(CompareSpec(), BLOBS, "blobs")
    for rule in (None, *plan.rules):
        build = pickle.loads(pickle.dumps(step_of(plan, BLOBS, TRAIN.batch(slice(8)), rule)))
        build()()


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have step times taken of few rounds."""
    monkeypatch.setitem(internals.entries(MEASURES), "step-time", StepTimeMeasure(2, 1, 0.0, 1))


def test_a_task_that_cannot_travel_has_no_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    plan = plan_compare(CompareSpec(), BLOBS, "blobs")
    task = replace(BLOBS, model=lambda: BLOBS.model())
    found = measure_costs(plan, task, TRAIN, {"dfa": 0.01, "fa": 0.1}, bars())
    assert list(found) == ["dfa", "fa"]
    for figures in found.values():
        assert set(figures) == {
            "step_seconds",
            "step_ratio",
            "step_quartiles",
            "plain_step_seconds",
        }
        low, high = figures["step_quartiles"]
        assert 0 < low <= figures["step_ratio"] <= high
        assert figures["step_seconds"] == figures["step_ratio"] * figures["plain_step_seconds"] > 0
    assert "peak memory is not measured: " in capsys.readouterr().err


def test_memory_is_relative_to_plain_pytorch(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    peaks = iter([PeakMemory(100, None, ""), PeakMemory(150, None, ""), PeakMemory(50, None, "")])
    monkeypatch.setattr(memory, "peak_memory", lambda *_, **__: next(peaks))
    plan = plan_compare(CompareSpec(), BLOBS, "blobs")
    rates = {"fa": 0.1, "frozen": 0.1}
    found = measure_costs(plan, BLOBS, TRAIN, rates, progress)
    assert [found[rule]["memory_ratio"] for rule in rates] == [1.5, 0.5]
    assert [found[rule]["memory_bytes"] for rule in rates] == [150, 50]
    assert {found[rule]["memory_kind"] for rule in rates} == {"tensors"}
    assert {found[rule]["plain_memory_bytes"] for rule in rates} == {100}


def test_only_the_measures_of_steps_that_are_named_are_taken(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    plan = plan_compare(CompareSpec(measures=("alignment", "step-time")), BLOBS, "blobs")
    found = measure_costs(plan, BLOBS, TRAIN, {"dfa": 0.1}, progress)["dfa"]
    assert "step_ratio" in found
    assert "memory_ratio" not in found
    assert measure_costs(plan, BLOBS, TRAIN, {}, progress) == {}


def test_step_seconds_agree_with_the_ratio_on_a_noisy_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The medians, 3 s and 4 s, are not twice each other; the rounds' ratios are."""
    rounds = [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [9.0, 4.5], [9.0, 3.0]]
    module = sys.modules[StepTimeMeasure.__module__]
    monkeypatch.setattr(module, "timed_rounds", lambda *_: iter(rounds))
    subject = Subject(step=lambda: lambda: None, plain_step=lambda: lambda: None)
    assert StepTimeMeasure().run(subject).values == {
        "step_seconds": 6.0,
        "step_ratio": 2.0,
        "step_quartiles": [0.5, 2.0],
        "plain_step_seconds": 3.0,
    }


MIB = 2**20


@pytest.mark.parametrize(
    ("residents", "kind", "held"),
    [
        ((40 * MIB, 50 * MIB, 33 * MIB), "resident", [40 * MIB, 50 * MIB, 33 * MIB]),
        ((40 * MIB, 50 * MIB, 31 * MIB), "tensors", [0, 1, 2]),
        ((40 * MIB, None, 50 * MIB), "tensors", [0, 1, 2]),
    ],
)
def test_memory_is_of_one_kind_in_all_rows(
    residents: tuple[int | None, ...], kind: str, held: list[int]
) -> None:
    peaks = [PeakMemory(i, resident, "") for i, resident in enumerate(residents)]
    assert memory.of_one_kind(peaks) == (kind, held)


def test_a_rule_whose_step_fails_loses_its_own_figures_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    rules = ("backprop", "dfa", "ff")  # the last one teaches other networks
    plan = plan_compare(CompareSpec(rules=rules, measures=("step-time",)), BLOBS, "blobs")
    found = measure_costs(plan, BLOBS, TRAIN, ["dfa", "ff"], bars())
    assert found["dfa"]["step_ratio"] > 0
    assert found["ff"] == {}
    assert "the cost of ff is not measured: cannot attach" in capsys.readouterr().err


def test_the_batch_is_drawn_from_all_samples() -> None:
    """The first ones may be of one class, or white: a rule could fail on them alone."""
    plan = plan_compare(CompareSpec(batch_size=8), BLOBS, "blobs")
    ordered = TRAIN.some(TRAIN.targets.argsort())
    assert len(batch_of(plan, ordered)[1].unique()) > 1
    again = batch_of(plan, ordered)[0]
    assert batch_of(plan, ordered)[0].equal(again)
