"""A comparison's settings as YAML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml
from experiment_tasks import BLOBS

from beyondprop.cli.app import parser
from beyondprop.cli.parser import spec_of
from beyondprop.experiment import CompareSpec, compare
from beyondprop.experiment.plan import as_json, plan_compare
from beyondprop.experiment.recipe import recipe
from beyondprop.files import read_json

SPEC = CompareSpec(
    task="experiment_tasks:BLOBS",
    rules=("backprop", {"rule": "dfa", "projection": {"hadamard": {"rounds": 2}}}),
    seeds=(0,),
    epochs=1,
    learning_rates=(1e-5, 0.01),
    measure_cost=False,
)


def test_a_comparison_leaves_the_yaml_that_makes_it_again(tmp_path: Path) -> None:
    compare(SPEC, tmp_path / "c", task=BLOBS)
    file = tmp_path / "c" / "spec.yaml"
    again = spec_of(CompareSpec, parser().parse_args(["compare", "--config", str(file)]).compare)
    plan = plan_compare(again, BLOBS, again.task)
    assert as_json(plan) == read_json(tmp_path / "c" / "spec.json")
    assert "--data" not in file.read_text()


def test_a_data_folder_is_asked_for_and_not_named() -> None:
    given = as_json(plan_compare(replace(SPEC, data=Path("/some/folder")), BLOBS, "blobs"))
    text = recipe(given)
    assert "pass your own folder" in text
    assert yaml.safe_load(text) == {key: each for key, each in given.items() if key != "data"}


def test_settings_of_any_kind_are_kept() -> None:
    search = {"budget": 3.5, "axes": {"optimizer": ["adam", "sgd"]}, "none": None}
    assert yaml.safe_load(recipe(search)) == search
