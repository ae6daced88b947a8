from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from experiment_tasks import BLOBS, EXPLODING, MISFIT, SCALED, blobs
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, compare, comparison
from beyondprop.experiment.search import at, ranked
from beyondprop.experiment.table import legend, table
from beyondprop.experiment.tuning import edge, learning_rates
from beyondprop.files import (
    StorageError,
    read_json,
)
from beyondprop.registry import label
from beyondprop.report import render

SPEC = CompareSpec(
    rules=("frozen", "dfa", "backprop"),
    seeds=(0, 1),
    learning_rates=(0.001, 0.03),
    measure_cost=False,
)


HERE = Path(__file__).name
FAILED = "the model of task blobs failed"


class Killed(BaseException):
    """Represents `kill -9`."""


def without_times(found: dict[str, Any]) -> dict[str, Any]:
    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            timed = ("seconds", "train_seconds", "provenance")
            return {k: strip(v) for k, v in value.items() if k not in timed}
        return [strip(entry) for entry in value] if isinstance(value, list) else value

    stripped: dict[str, Any] = strip(found)
    return stripped


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    compare(SPEC, folder, task=BLOBS)
    return folder


@pytest.fixture
def found(reference: Path) -> dict[str, Any]:
    return read_json(reference / "comparison.json") or {}


def test_every_rule_runs_with_every_seed(found: dict[str, Any]) -> None:
    assert (found["schema"], found["kind"], found["seeds"]) == (2, "comparison", [0, 1])
    assert [row["rule"] for row in found["rows"]] == ["backprop", "dfa", "frozen", "linear"]
    assert [(run["rule"]["name"], run["seed"]) for run in found["runs"]] == [
        *((rule, seed) for seed in (0, 1) for rule in ("backprop", "dfa", "frozen")),
        *(("linear", seed) for seed in (0, 1)),
    ]
    assert found["task"]["name"] == "blobs"
    assert found["spec"]["rules"] == ["backprop", "dfa", "frozen"]


def test_runs_are_kept_in_full(found: dict[str, Any], reference: Path) -> None:
    for run in found["runs"]:
        folder = reference / "runs" / f"{run['rule']['name']}-seed{run['seed']}"
        assert read_json(folder / "record.json") == run


def test_rows_are_of_the_runs(found: dict[str, Any]) -> None:
    score = {
        rule: [r["test"]["score"] for r in found["runs"] if r["rule"]["name"] == rule]
        for rule in ("backprop", "dfa", "frozen")
    }
    mean = {rule: sum(values) / 2 for rule, values in score.items()}
    dfa = found["rows"][1]
    assert dfa["score_mean"] == pytest.approx(mean["dfa"])
    assert dfa["recovery"] is None  # frozen does better on these clouds
    assert "backprop and frozen overlap" in dfa["recovery_reason"]
    assert dfa["step_ratio"] is dfa["memory_ratio"] is None


def test_every_rule_searches_within_one_budget(found: dict[str, Any]) -> None:
    tuning = found["tuning"]
    for rule in ("backprop", "dfa"):
        own = [t for t in tuning["trials"] if t["rule"] == rule]
        assert {(0.001, 2), (0.03, 2)} <= {(t["learning_rate"], t["epochs"]) for t in own}
        assert {t["seed"] for t in own} == {1000}
        search = tuning["searches"][rule]
        assert search["trials"] == len(own)
        assert 0 < search["compute"] <= tuning["budget"]
    assert tuning["epochs"] == [2]  # of four steps each: shorter ones would say nothing
    assert tuning["searches"].keys() == {"backprop", "dfa"}
    assert tuning["searches"]["dfa"]["step_cost"] < tuning["searches"]["backprop"]["step_cost"]


def test_the_best_trial_on_validation_decides(found: dict[str, Any]) -> None:
    chosen_rates = found["tuning"]["chosen"]
    assert chosen_rates.pop("frozen") is None  # its last layer is solved
    for rule, chosen in chosen_rates.items():
        own = [t for t in found["tuning"]["trials"] if t["rule"] == rule]
        assert ranked(at(own, 2))[0].learning_rate == chosen
        rates = {r["learning_rate"] for r in found["runs"] if r["rule"]["name"] == rule}
        assert rates == {chosen}


def test_trials_are_not_tested(reference: Path) -> None:
    files = {file.name for file in (reference / "tuning").glob("*/*")}
    assert files == {"spec.json", "metrics.jsonl", "checkpoint.pt", "trial.json"}


def tuning(**statuses: list[str]) -> dict[str, Any]:
    rates = [0.1, 0.3, 1.0]
    trials = [
        {"rule": rule, "learning_rate": rate, "status": status}
        for rule, found in statuses.items()
        for rate, status in zip(rates, found, strict=True)
    ]
    searches = {"fa": {"optimizer": "", "edge": False}, "dfa": {"optimizer": "sgd", "edge": True}}
    return {"trials": trials, "chosen": {"fa": 0.3, "dfa": 0.1}, "searches": searches}


def test_how_learning_rates_were_chosen_is_said() -> None:
    failed, good = ["diverged"] * 3, ["finished"] * 3
    lowest = "(no trial finished, so the lowest is used)"
    both = tuning(fa=good, dfa=good)
    assert learning_rates(both) == "learning rates, chosen on validation: fa 0.3, dfa sgd 0.1"
    assert edge(both).startswith("the rate chosen for dfa lies at the edge")
    one = tuning(fa=good, dfa=failed)
    assert learning_rates(one).endswith(f"chosen on validation: fa 0.3, dfa sgd 0.1 {lowest}")
    none = learning_rates(tuning(fa=failed, dfa=failed))
    assert none == f"learning rates: fa 0.3 {lowest}, dfa sgd 0.1 {lowest}"
    assert edge(one) == "no trial of dfa finished: try lower learning_rates"
    failing = edge(tuning(fa=good, dfa=["failed"] * 3))
    assert failing == "dfa failed in every trial: the lines above give the reasons"
    no_trial = "the budget allows no trial of dfa: try a larger tuning_budget"
    assert edge(tuning(fa=good)) == no_trial
    assert edge(tuning()) == no_trial


def test_edges_of_records_from_before_grids_moved() -> None:
    earlier = tuning(fa=["finished"] * 3, dfa=["finished"] * 3) | {"learning_rates": [0.1, 0.3, 1]}
    del earlier["searches"]
    assert edge(earlier).startswith("the rate chosen for dfa lies at the edge")
    assert edge(earlier | {"trials": []}) == ""


def test_one_learning_rate_needs_no_trials(tmp_path: Path) -> None:
    spec = replace(SPEC, learning_rates=(0.02,), rules=("dfa",), seeds=(0,))
    found = compare(spec, tmp_path / "c", task=BLOBS)
    assert found["tuning"]["trials"] == []
    assert found["tuning"]["chosen"] == {"dfa": 0.02}
    assert found["rows"][0]["recovery"] is None  # no controls
    assert found["rows"][0]["score_std"] is None  # one run


@pytest.mark.parametrize("write", [0, 1, 5, 12, 20, 21, 22, 30, 40, 48, 50, 54, 60])
def test_a_comparison_killed_at_any_write_is_resumed_to_the_same_result(
    write: int,
    reference: Path,
    found: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    countdown, replaced = write, Path.replace

    def dies(self: Path, target: Path) -> Path:
        nonlocal countdown
        countdown -= 1
        if countdown < 0:
            raise Killed
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(Killed):
        compare(SPEC, tmp_path / "c", task=BLOBS)
    monkeypatch.setattr(Path, "replace", replaced)
    over = set((tmp_path / "c").rglob("record.json"))
    resumed = compare(SPEC, tmp_path / "c", resume=True, task=BLOBS)
    assert without_times(resumed) == without_times(found)
    weights = [f.relative_to(reference) for f in reference.rglob("weights.safetensors")]
    assert len(weights) == 8
    for file in weights:
        assert (reference / file).read_bytes() == (tmp_path / "c" / file).read_bytes()
    provenance = resumed["provenance"]  # killed at the spec, a session has done nothing yet
    assert len(provenance["sessions"]) == (0 if write < 2 else 1)
    kept = {f for f in over if read_json(f) in resumed["runs"]}
    assert kept == over


def test_a_finished_comparison_is_left_as_is(reference: Path, found: dict[str, Any]) -> None:
    before = {file: file.stat().st_mtime_ns for file in reference.rglob("*")}
    assert compare(SPEC, reference, resume=True, task=BLOBS) == found
    assert {file: file.stat().st_mtime_ns for file in reference.rglob("*")} == before
    with pytest.raises(UserError, match="add resume=True"):
        compare(SPEC, reference, task=BLOBS)
    with pytest.raises(UserError, match="epochs"):
        compare(replace(SPEC, epochs=7), reference, resume=True, task=BLOBS)


def test_a_rule_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    spec = replace(SPEC, rules=("backprop", "fa"), seeds=(0,), learning_rates=(0.01,))
    found = compare(spec, tmp_path / "c", task=SCALED)
    backprop, fa, _linear = found["runs"]
    assert backprop["status"] == "finished"
    assert fa["status"] == "failed"
    assert "FeedbackAlignment cannot cover" in fa["reason"]
    assert (found["rows"][1]["failed"], found["rows"][1]["score_mean"]) == (1, None)
    assert (fa["test"], fa["curve"], fa["parameters"]) == (None, [], None)


def failing(times: int) -> Callable[[], torch.nn.Module]:
    """A model that cannot be built the first few times, after the check beforehand."""
    count = 0

    def build() -> torch.nn.Module:
        nonlocal count
        count += 1
        if 2 < count <= 2 + times:
            raise MemoryError("no room")
        return BLOBS.model()

    return build


def test_a_failed_run_is_tried_again_on_resume(tmp_path: Path) -> None:
    spec = replace(SPEC, rules=("backprop", "dfa"), seeds=(0,), learning_rates=(0.01,))
    task = replace(BLOBS, model=failing(1))
    found = compare(spec, tmp_path / "c", task=task)
    assert [run["status"] for run in found["runs"]] == ["failed", "finished", "finished"]
    assert found["runs"][0]["reason"] == f"{FAILED}: MemoryError: no room ({HERE}, line 234)"
    again = compare(spec, tmp_path / "c", resume=True, task=task)
    assert [run["status"] for run in again["runs"]] == ["finished"] * 3
    assert again["runs"][1] == found["runs"][1]


def test_a_failed_trial_counts_as_such(tmp_path: Path) -> None:
    spec = replace(SPEC, rules=("backprop",), seeds=(0,))
    found = compare(spec, tmp_path / "c", task=replace(BLOBS, model=failing(3)))
    statuses = [t["status"] for t in found["tuning"]["trials"]]
    assert statuses[0] == "failed"
    assert "failed" not in statuses[1:]
    assert (
        found["tuning"]["trials"][0]["reason"]
        == f"{FAILED}: MemoryError: no room ({HERE}, line 234)"
    )


def test_a_full_disk_is_no_fault_of_a_rule(
    tmp_path: Path, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        compare(SPEC, tmp_path / "c", task=BLOBS)
    monkeypatch.undo()
    assert without_times(compare(SPEC, tmp_path / "c", True, BLOBS)) == without_times(found)


@pytest.mark.parametrize("where", ["problems", "start", "install"])
def test_a_rule_that_breaks_when_it_is_attached_is_recorded_and_the_others_go_on(
    where: str, tmp_path: Path
) -> None:
    own = {"rule": "experiment_rules:Breaks", "where": where}
    spec = replace(SPEC, rules=(own, "backprop"), seeds=(0,), learning_rates=(0.01,))
    found = compare(spec, tmp_path / "c", task=BLOBS)
    backprop, failed, _linear = found["runs"]
    assert (backprop["status"], failed["status"]) == ("finished", "failed")
    why = f"attaching the rule breaks-in-{where} failed: KeyError: '{where}\\nof a user's own'"
    why += " (experiment_rules.py, line 70)"
    assert failed["reason"].replace('"', "'") == why
    with pytest.raises(UserError, match=f"attaching the rule breaks-in-{where} failed"):
        compare(replace(spec, rules=(own,)), tmp_path / "alone", task=BLOBS)


def test_measures_of_one_figure_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    spec = replace(SPEC, measures=("alignment", "alignment"))
    with pytest.raises(UserError, match="two measures have a figure with the same name: alignment"):
        compare(spec, tmp_path / "c", task=BLOBS)
    assert not (tmp_path / "c").exists()


def test_a_task_whose_models_share_weights_is_told_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    same = BLOBS.model()
    for build in (lambda: same, lambda: torch.nn.Sequential(*same, torch.nn.Linear(3, 3))):
        with pytest.raises(UserError, match="model of task blobs returns the same weights"):
            compare(SPEC, tmp_path / "c", task=replace(BLOBS, model=build))
    assert not (tmp_path / "c").exists()


def test_diverged_runs_are_recorded(tmp_path: Path) -> None:
    spec = replace(SPEC, learning_rates=(1e30,), seeds=(0,), rules=("backprop", "dfa"))
    found = compare(spec, tmp_path / "c", task=EXPLODING)
    assert [(row["runs"], row["diverged"]) for row in found["rows"]] == [(1, 1), (1, 1), (1, 0)]
    assert all("became" in run["reason"] for run in found["runs"][:2])
    chance = found["chance"]["score"]
    assert [row["score_mean"] for row in found["rows"][:2]] == [chance, chance]
    shown = legend(found)
    assert "dfa, seed 0: diverged, the" in shown
    assert "the best constant output (the score of a diverged run)" in shown
    json.dumps(dict(found), allow_nan=False)


@pytest.mark.parametrize(
    ("spec", "task", "said"),
    [
        (replace(SPEC, rules=("dfa", "bp")), BLOBS, "unknown rule 'bp'"),
        (replace(SPEC, blocks=("lay*",)), BLOBS, "pattern 'lay\\*' matches no"),
        (SPEC, MISFIT, "model of task misfit does not fit its data"),
        (replace(SPEC, device="abacus"), BLOBS, "device 'abacus'"),
        (SPEC, replace(BLOBS, load=lambda _: {}["a"]), "load of task blobs failed: KeyError: 'a'"),
        (SPEC, replace(BLOBS, loss=lambda *_: {}["a"]), "loss of task blobs failed: KeyError"),
    ],
)
def test_what_no_rule_can_do_is_said_before_the_first_run(
    spec: CompareSpec, task: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        compare(spec, tmp_path / "c", task=task)
    assert not (tmp_path / "c").exists()


def test_the_table_shows_every_rule(found: dict[str, Any]) -> None:
    shown = table(found)
    assert [str(column.header) for column in shown.columns][:3] == [
        "rule",
        "test accuracy",
        "recovery",
    ]
    rules, scores, recoveries, *_, memory, runs = (list(c.cells) for c in shown.columns)
    assert rules == ["backprop", "dfa", "frozen", "linear"]
    row = found["rows"][1]
    assert (
        scores[1] == f"{row['score_mean']:.4f} ± {row['score_interval'][1] - row['score_mean']:.4f}"
    )
    assert recoveries == memory == ["–"] * 4
    assert runs == ["2/2"] * 4
    assert "recovery: not reported, because the 95% intervals" in legend(found)


def test_costs_are_measured_for_the_rules_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def costs(*arguments: Any) -> dict[str, dict[str, float]]:
        asked.extend(arguments[3])
        return {"backprop": {"step_seconds": 1.0, "step_ratio": 1.5, "memory_ratio": 2.0}}

    monkeypatch.setattr(comparison, "measure_costs", costs)
    spec = replace(
        SPEC, rules=("backprop", "fa"), seeds=(0,), learning_rates=(0.01,), measure_cost=True
    )
    found = compare(spec, tmp_path / "c", task=SCALED)
    assert asked == ["backprop"]
    assert [row["step_ratio"] for row in found["rows"]] == [1.5, None, None]


def test_the_losses_of_a_task_are_used(tmp_path: Path) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.square().mean() * 0 + 7 + 0 * targets.sum()

    spec = replace(SPEC, rules=("backprop",), seeds=(0,), learning_rates=(0.01,))
    found = compare(spec, tmp_path / "c", task=replace(BLOBS, loss=loss, load=lambda _: blobs()))
    assert found["runs"][0]["test"]["loss"] == 7


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("dfa", {"rule": "dfa", "projection": {"by-size": {"shared": True}}}),
        (
            {"rule": "dfa", "projection": "photonic"},
            {"rule": "dfa", "projection": {"photonic": {"device": "lighton-opu"}}},
        ),
    ],
)
def test_equal_rules_are_refused_since_both_would_be_counted(
    one: Any, two: Any, tmp_path: Path
) -> None:
    why = f"{label(one)} and {label(two)} are the same rule"
    with pytest.raises(UserError, match=re.escape(why)):
        compare(replace(SPEC, rules=("backprop", one, two)), tmp_path / "c", task=BLOBS)
    assert not (tmp_path / "c").exists()


def test_rules_that_differ_in_a_part_are_no_equals() -> None:
    comparison.check_distinct(["backprop", "dfa", {"rule": "dfa", "projection": "dense"}, "frozen"])
    comparison.check_distinct([{"rule": "experiment_rules:Breaks", "where": "x"}, "kp", "fa"])


def test_the_linear_model_is_part_of_every_comparison(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^unknown rule 'linear'; .* part of every comparison"):
        compare(replace(SPEC, rules=("dfa", "linear")), tmp_path / "c", task=BLOBS)


def test_costs_that_are_not_measured_are_not_in_the_report(found: dict[str, Any]) -> None:
    assert found["spec"]["measures"] == list(SPEC.measures)
    page = render(found)
    assert "against cost" not in page
    assert "Step time" not in page
    assert "Step time" in render(found | {"spec": found["spec"] | {"measure_cost": True}})
