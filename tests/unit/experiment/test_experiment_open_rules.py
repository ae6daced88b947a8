"""A user's own rules, and rules with arguments, in all that experiments do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from experiment_tasks import BLOBS
from safetensors.torch import load_file

from beyondprop import rules
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, RunSpec, compare, train
from beyondprop.files import read_json
from beyondprop.report import write

SIGNS = "experiment_rules:Signs"
HADAMARD = {"rule": "dfa", "projection": {"hadamard": {"rounds": 3}}}
SMALL = {"epochs": 1, "seeds": (0,), "learning_rates": (0.01, 0.02), "measure_cost": False}


def test_a_run_by_ones_own_rule(run_folder: Path) -> None:
    record = train(RunSpec(rule=SIGNS, epochs=1), run_folder, task=BLOBS)
    assert record["status"] == "finished"
    assert record["spec"]["rule"] == SIGNS
    rule = record["rule"]
    assert (rule["name"], rule["source"]) == (SIGNS, SIGNS)
    assert rule["called"]
    assert rule["does"].endswith(".")
    assert rule["settings"]["rule"] == SIGNS
    assert rules.make(rule["settings"]) == rules.make(SIGNS, seed=0)
    assert "Signs" in rule["report"]


def test_a_run_by_a_rule_with_arguments(run_folder: Path) -> None:
    record = train(RunSpec(rule=HADAMARD, epochs=1, seed=4), run_folder, task=BLOBS)
    assert record["spec"] == read_json(run_folder / "spec.json")
    assert record["spec"]["rule"] == HADAMARD
    rule = record["rule"]
    assert rule["name"] == "dfa(projection=hadamard(rounds=3))"
    assert rule["source"].endswith("direct_feedback_alignment:DirectFeedbackAlignment")
    projection = {"name": "hadamard", "seed": 4, "shared": False, "rounds": 3}
    assert rule["settings"] == {"rule": "dfa", "projection": projection}
    again = train(RunSpec(rule=HADAMARD, epochs=1, seed=4), run_folder, resume=True, task=BLOBS)
    assert again == record


def weights(folder: Path, rule: Any) -> dict[str, torch.Tensor]:
    """What a short run by a rule ends with."""
    train(RunSpec(rule=rule, epochs=1), folder, task=BLOBS)
    return load_file(folder / "weights.safetensors")


def test_arguments_change_what_is_learned(tmp_path: Path) -> None:
    specs = {
        "usual": "dfa",
        "the same": {"dfa": {"projection": {"dense": {"shared": True}}}},
        "another": HADAMARD,
        "own": {"rule": "dfa", "projection": "experiment_rules:Ones"},
        "a function": "experiment_rules:by_ones",
    }
    found = {name: weights(tmp_path / name, spec)["0.weight"] for name, spec in specs.items()}
    assert torch.equal(found["usual"], found["the same"])
    assert torch.equal(found["own"], found["a function"])
    assert not torch.equal(found["usual"], found["another"])
    assert not torch.equal(found["usual"], found["own"])


def test_a_comparison_and_its_report(tmp_path: Path) -> None:
    own = {"rule": SIGNS, "scale": 0.5}
    spec = CompareSpec(rules=("frozen", SIGNS, own, HADAMARD, "backprop"), **SMALL)
    found = compare(spec, tmp_path / "all", task=BLOBS)
    names = [
        "backprop",
        SIGNS,
        f"{SIGNS}(scale=0.5)",
        "dfa(projection=hadamard(rounds=3))",
        "frozen",
    ]
    assert [row["rule"] for row in found["rows"]] == [*names, "linear"]
    assert all(row["finished"] == 1 for row in found["rows"])
    assert list(found["tuning"]["chosen"]) == names
    assert {folder.name for folder in (tmp_path / "all" / "runs").iterdir()} == {
        "backprop-seed0",
        "experiment_rules-Signs-seed0",
        "experiment_rules-Signs-scale-0.5-seed0",
        "dfa-projection-hadamard-rounds-3-seed0",
        "frozen-seed0",
        "linear-seed0",
    }
    page = write([tmp_path / "all"], tmp_path / "report.html").read_text("utf-8")
    for name in names:
        assert name in page
    assert compare(spec, tmp_path / "all", resume=True, task=BLOBS) == found


def test_the_cost_of_ones_own_rule_is_measured(tmp_path: Path) -> None:
    spec = CompareSpec(rules=(SIGNS,), epochs=1, seeds=(0,), learning_rates=(0.01,))
    row, _linear = compare(spec, tmp_path / "all", task=BLOBS)["rows"]
    assert row["step_ratio"] > 0


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("experiment_rules:Sings", "has no 'Sings'; did you mean 'Signs'?"),
        ("experiment_rules:Ones", "experiment_rules:Ones is a class, but not a Rule"),
        ({"rule": SIGNS, "scal": 1}, "takes projection, scale, not scal; did you mean 'scale'"),
        ({"rule": SIGNS, "scale": "x"}, "scale of rule 'experiment_rules:Signs' must be a number"),
        ({"a": 1, "b": 2}, "a rule is written as its name, or with arguments as {rule: NAME"),
    ],
)
def test_a_mistake_leaves_no_folder(rule: Any, said: str, run_folder: Path) -> None:
    with pytest.raises(UserError, match=said):
        train(RunSpec(rule=rule), run_folder, task=BLOBS)
    with pytest.raises(UserError, match=said):
        compare(CompareSpec(rules=("backprop", rule)), run_folder, task=BLOBS)
    assert not run_folder.exists()
