from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from beyondprop.errors import UserError
from beyondprop.experiment import storage
from beyondprop.files import StorageError, write_json


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot read .*file: there is a file where"):
        storage.check_claim(tmp_path / "file", {}, resume=False)


@pytest.mark.parametrize("resume", [False, True])
def test_a_missing_or_empty_folder_may_be_used(tmp_path: Path, resume: bool) -> None:
    storage.check_claim(tmp_path / "missing", {}, resume)
    storage.check_claim(tmp_path, {}, resume)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_half_written_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / ".spec.json.123.beyondprop-tmp").write_text("{")
    with storage.claimed(tmp_path, {}, resume=False):
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resume", [False, True])
def test_a_refused_folder_is_left_as_it_is(tmp_path: Path, resume: bool) -> None:
    for name in (".mine.tmp", ".spec.json.123.beyondprop-tmp"):
        (tmp_path / name).write_text("x")
    with pytest.raises(UserError):
        storage.check_claim(tmp_path, {}, resume)
    assert len(list(tmp_path.iterdir())) == 2
    write_json(tmp_path / "spec.json", {})
    with storage.claimed(tmp_path, {}, resume=True):
        pass
    assert {file.name for file in tmp_path.iterdir()} == {".mine.tmp", "spec.json"}


def test_the_data_may_have_been_moved(tmp_path: Path) -> None:
    write_json(tmp_path / "spec.json", {"seed": 1, "data": None})
    storage.check_claim(tmp_path, {"seed": 1, "data": "given"}, resume=True)


def test_a_used_folder_is_refused_unless_resumed(tmp_path: Path) -> None:
    write_json(tmp_path / "spec.json", {"seed": 1})
    with pytest.raises(UserError, match=r"is not empty; add resume=True .* or choose another"):
        storage.check_claim(tmp_path, {"seed": 1}, resume=False)
    storage.check_claim(tmp_path, {"seed": 1}, resume=True)


def test_a_folder_of_another_spec_is_refused_naming_the_fields(tmp_path: Path) -> None:
    write_json(tmp_path / "spec.json", {"seed": 1, "rule": "fa", "gone": 0})
    with pytest.raises(UserError) as refused:
        storage.check_claim(tmp_path, {"seed": 2, "rule": "fa", "new": 0}, resume=True)
    assert "seed (1 there, 2 now), new (None there, 0 now), gone (0 there, None now)" in str(
        refused.value
    )
    assert "rule" not in str(refused.value)


def test_a_folder_of_something_else_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"contains no spec\.json"):
        storage.check_claim(tmp_path, {}, resume=True)


@pytest.mark.parametrize("spec", [{"seeds": ["a"]}, {"rules": [[1]]}, {"tasks": [3]}])
def test_a_spec_of_other_kinds_of_values_is_told(tmp_path: Path, spec: dict[str, Any]) -> None:
    write_json(tmp_path / "spec.json", spec)
    with pytest.raises(StorageError, match=r"spec\.json is damaged .*; restore its content"):
        storage.read_spec(tmp_path)


def refused(folder: Path, name: str, error: type[BaseException]) -> None:
    """Write a file into a folder and raise an error."""
    with storage.occupied(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
        raise error


@pytest.mark.parametrize(
    ("error", "name", "left"),
    [
        (UserError, "spec.json", []),
        (UserError, "runs/dfa-seed0/metrics.jsonl", []),
        (UserError, "checkpoint.pt", ["checkpoint.pt"]),
        (UserError, "runs/dfa-seed0/record.json", ["record.json"]),
        (StorageError, "spec.json", ["spec.json"]),
        (KeyboardInterrupt, "spec.json", ["spec.json"]),
    ],
)
def test_a_refusal_without_a_result_leaves_no_folder(
    tmp_path: Path, error: type[BaseException], name: str, left: list[str]
) -> None:
    folder = tmp_path / "runs" / "one"
    with pytest.raises(error):
        refused(folder, name, error)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == left
    assert folder.exists() == bool(left)
    assert bool(left) == bool(list(tmp_path.iterdir()))


def test_a_refusal_removes_only_what_it_made(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("earlier")
    with pytest.raises(UserError):
        refused(tmp_path, "metrics.jsonl", UserError)
    assert {path.name for path in tmp_path.iterdir()} == {"spec.json", "metrics.jsonl"}
