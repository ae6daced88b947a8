"""Files that are written as a whole or not at all, and JSON that is read with one plain error."""

import errno
import json
import math
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyondprop import files
from beyondprop.files import StorageError, WriteError


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced_as_a_whole_or_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "file"
    files.write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(
        StorageError, match=r"cannot write .*file: No space left on device; .* is intact"
    ):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*inside: a file stands where"):
        files.write_bytes(tmp_path / "file" / "inside", b"")
    with pytest.raises(StorageError, match=r"cannot write .*No such file"):
        files.append_text(tmp_path / "missing" / "log", "line")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_everything_written_is_strict_json(value: object) -> None:
    text = json.dumps(files.finite(value), allow_nan=False)
    assert files.finite(json.loads(text)) == files.finite(value)


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x", {"a": [math.nan, math.inf, 1.5], "b": Path("p")})
    assert files.read_json(tmp_path / "x") == {"a": [None, None, 1.5], "b": "p"}


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
def test_a_damaged_record_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").write_text(content, encoding="latin-1")
    with pytest.raises(StorageError, match="x is damaged"):
        files.read_json(tmp_path / "x")


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert files.read_json(tmp_path / "x") is None


def test_only_what_a_repeat_can_mend_is_a_write_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "inside", tmp_path / "folder"):
        with pytest.raises(StorageError, match="stands where") as refused:
            files.write_bytes(path, b"")
        assert not isinstance(refused.value, WriteError)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WriteError):
        files.write_bytes(tmp_path / "new", b"")


def test_lone_surrogates_are_written_as_escapes(tmp_path: Path) -> None:
    """As in the name of a file that is not of the system's encoding, on the command line."""
    files.write_json(tmp_path / "a.json", {"command": "caf\udce9 ä"})
    assert '\n "command": "caf\\udce9 ä",\n' in (tmp_path / "a.json").read_text()
    assert files.read_json(tmp_path / "a.json") == {"command": "caf\udce9 ä"}


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ),
    )
)
def test_what_was_written_fits_its_digest(value: dict[str, Any]) -> None:
    value.pop("sha256", None)
    with TemporaryDirectory() as folder:
        files.write_json(Path(folder, "x"), value)
        assert files.read_json(Path(folder, "x")) == files.finite(value)


def test_a_changed_figure_does_not_fit_the_digest(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x", {"score": 0.25, "rule": "dfa"})
    text = (tmp_path / "x").read_text()
    (tmp_path / "x").write_text(text.replace("0.25", "0.75"))
    said = r"x is damaged \(its content does not fit its sha256\); ask for it again"
    with pytest.raises(StorageError, match=said):
        files.read_json(tmp_path / "x", mend="ask for it again")
    # Neither its spaces nor the order of its keys are content.
    found = json.loads(text)
    (tmp_path / "x").write_text(json.dumps(dict(reversed(found.items()))))
    assert files.read_json(tmp_path / "x") == {"score": 0.25, "rule": "dfa"}


def test_a_file_of_an_earlier_version_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"score": 0.25}')
    assert files.read_json(tmp_path / "x") == {"score": 0.25}
