from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyondprop.errors import UserError
from beyondprop.experiment import storage
from beyondprop.files import (
    StorageError,
    WriteError,
)


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced_as_a_whole_or_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "file"
    storage.write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(
        StorageError, match=r"cannot write .*file: No space left on device; .* is intact"
    ):
        storage.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*inside: a file stands where"):
        storage.write_bytes(tmp_path / "file" / "inside", b"")
    with pytest.raises(StorageError, match=r"cannot write .*No such file"):
        storage.append_text(tmp_path / "missing" / "log", "line")
    with pytest.raises(StorageError, match=r"cannot read .*file: a file stands where"):
        storage.check_claim(tmp_path / "file", {}, resume=False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_everything_written_is_strict_json(value: object) -> None:
    text = json.dumps(storage.finite(value), allow_nan=False)
    assert storage.finite(json.loads(text)) == storage.finite(value)


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "x", {"a": [math.nan, math.inf, 1.5], "b": Path("p")})
    assert storage.read_json(tmp_path / "x") == {"a": [None, None, 1.5], "b": "p"}


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
def test_a_damaged_record_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").write_text(content, encoding="latin-1")
    with pytest.raises(StorageError, match="x is damaged"):
        storage.read_json(tmp_path / "x")


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert storage.read_json(tmp_path / "x") is None


@pytest.mark.parametrize("resume", [False, True])
def test_a_missing_or_empty_folder_may_be_used(tmp_path: Path, resume: bool) -> None:
    storage.check_claim(tmp_path / "missing", {}, resume)
    storage.check_claim(tmp_path, {}, resume)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_half_written_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / ".spec.json.123.beyondprop-tmp").write_text("{")
    storage.check_claim(tmp_path, {}, resume=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resume", [False, True])
def test_a_refused_folder_is_left_as_it_is(tmp_path: Path, resume: bool) -> None:
    for name in (".mine.tmp", ".spec.json.123.beyondprop-tmp"):
        (tmp_path / name).write_text("x")
    with pytest.raises(UserError):
        storage.check_claim(tmp_path, {}, resume)
    assert len(list(tmp_path.iterdir())) == 2
    storage.write_json(tmp_path / "spec.json", {})
    storage.check_claim(tmp_path, {}, resume=True)
    assert {file.name for file in tmp_path.iterdir()} == {".mine.tmp", "spec.json"}


def test_the_data_may_have_been_moved(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "spec.json", {"seed": 1, "data": None})
    storage.check_claim(tmp_path, {"seed": 1, "data": "given"}, resume=True)


def test_only_what_a_repeat_can_mend_is_a_write_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "inside", tmp_path / "folder"):
        with pytest.raises(StorageError, match="stands where") as refused:
            storage.write_bytes(path, b"")
        assert not isinstance(refused.value, WriteError)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WriteError):
        storage.write_bytes(tmp_path / "new", b"")


def test_a_used_folder_is_refused_unless_resumed(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "spec.json", {"seed": 1})
    with pytest.raises(UserError, match=r"is not empty; add --resume .* or choose another"):
        storage.check_claim(tmp_path, {"seed": 1}, resume=False)
    storage.check_claim(tmp_path, {"seed": 1}, resume=True)


def test_a_folder_of_another_spec_is_refused_naming_the_fields(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "spec.json", {"seed": 1, "rule": "fa", "gone": 0})
    with pytest.raises(UserError) as refused:
        storage.check_claim(tmp_path, {"seed": 2, "rule": "fa", "new": 0}, resume=True)
    assert "seed (1 there, 2 now), new (None there, 0 now), gone (0 there, None now)" in str(
        refused.value
    )
    assert "rule" not in str(refused.value)


def test_a_folder_of_something_else_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"holds no spec\.json"):
        storage.check_claim(tmp_path, {}, resume=True)
