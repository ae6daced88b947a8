"""Damaged files in a comparison's folder: resumed all the same, or one sentence names the file."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from experiment_tasks import BLOBS
from rich.console import Console
from rich.progress import Progress
from tests.damage import damaged

from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, RunSpec, compare, forms, train
from beyondprop.experiment.comparison import line
from beyondprop.experiment.search import at, ranked
from beyondprop.experiment.summary import summarise
from beyondprop.experiment.table import legend, table
from beyondprop.experiment.tuning import edge, judged_rules, learning_rates
from beyondprop.files import StorageError, read_json, write_json

SPEC = CompareSpec(
    rules=("backprop", "dfa"),
    seeds=(0,),
    epochs=1,
    learning_rates=(0.01, 0.1),
    measures=("alignment",),
    measure_cost=False,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("compared")
    compare(SPEC, made, task=BLOBS, progress=Progress(console=Console(file=io.StringIO())))
    return made


def shown(found: dict[str, Any]) -> None:
    table(found), legend(found), edge(found["tuning"])


def tuned(found: dict[str, Any]) -> None:
    learning_rates(found), edge(found), judged_rules(found)


def told(found: dict[str, Any]) -> None:
    line(found)
    summarise([found["rule"]["name"]], [found], {})


def placed(found: dict[str, Any]) -> None:
    ranked(at([found], 1))


FILES = {
    "comparison.json": (forms.read_comparison, shown),
    "tuning.json": (forms.read_tuning, tuned),
    "runs/dfa-seed0/record.json": (forms.read_run, told),
    "tuning/dfa-lr0.01-epochs1/trial.json": (
        forms.read_trial,
        placed,
    ),
    "sessions.json": (
        lambda path: forms.read(path, forms.SESSIONS),
        lambda found: [*found["sessions"]],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_each_value_may_be_damaged(
    folder: Path,
    tmp_path: Path,
    name: str,
) -> None:
    read, use = FILES[name]
    file, whole = tmp_path / "file.json", read_json(folder / name) or {}
    assert read(folder / name) == whole
    for record in (whole, *whole.get("runs", ())):
        for part in ("provenance", "spec", "parameters", "trained_parameters"):  # not looked at
            record.pop(part, None)
    whole["runs"] = whole.get("runs", [])[:1]
    for record in damaged(whole):
        file.write_text(json.dumps(record))
        try:
            found = read(file)
        except UserError as problem:
            said = str(problem)
            assert said.startswith(f"{file} is damaged (")
            assert "\n" not in said
        else:
            use(found)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"a": 1', "\xff"])
@pytest.mark.parametrize("name", [*FILES, "spec.json"])
def test_no_object_is_named_on_resuming(
    folder: Path, tmp_path: Path, name: str, content: str
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "comparison.json").unlink()
    if name.startswith("tuning/"):
        (tmp_path / "copy" / "tuning.json").unlink()
    (tmp_path / "copy" / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=rf"{tmp_path / 'copy' / name} is damaged"):
        compare(SPEC, tmp_path / "copy", resume=True, task=BLOBS)


def test_a_run_is_resumed_with_one_sentence_too(tmp_path: Path) -> None:
    train(RunSpec(epochs=1), tmp_path, task=BLOBS)
    file = tmp_path / "record.json"
    write_json(file, (read_json(file) or {}) | {"test": None})
    said = rf"{file} is damaged \(test is null, not an object\); delete it and run again"
    with pytest.raises(UserError, match=said):
        train(RunSpec(epochs=1), tmp_path, resume=True, task=BLOBS)


@pytest.mark.parametrize("name", [*FILES, "spec.json"])
def test_a_file_that_was_changed_by_hand_is_named_on_resuming(
    folder: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "comparison.json").rename(tmp_path / "whole.json")
    if name.startswith("tuning/"):
        (tmp_path / "copy" / "tuning.json").unlink()
    file = tmp_path / "copy" / name
    if name == "comparison.json":
        (tmp_path / "whole.json").rename(file)
    changed = json.loads(file.read_text()) | {"more": 7}
    file.write_text(json.dumps(changed))
    with pytest.raises(StorageError, match=rf"{file} is damaged .* sha256"):
        compare(SPEC, tmp_path / "copy", resume=True, task=BLOBS)
    del changed["sha256"], changed["more"]  # as an earlier version wrote it
    file.write_text(json.dumps(changed))
    compare(SPEC, tmp_path / "copy", resume=True, task=BLOBS)


@pytest.mark.parametrize(
    "kept",
    [{}, {"found": 3}, {"found": {}}, {"found": {"rate": "x"}}, {"found": {"rate": 10**400}}],
)
def test_an_answer_of_something_else_is_told(tmp_path: Path, kept: dict[str, Any]) -> None:
    file, asked = tmp_path / "0.1.json", {"rate": 0.1}
    write_json(file, {"asked": asked} | kept)
    assert forms.read_kept(file, "found", forms.ATTEMPTS, {"rate": 0.2}) is None
    with pytest.raises(StorageError, match=r"0.1.json is damaged \("):
        forms.read_kept(file, "found", forms.ATTEMPTS, asked)
