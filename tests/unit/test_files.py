"""Files that are written as a whole or not at all, and JSON that is read with one plain error."""

import errno
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
    with pytest.raises(StorageError, match=r"cannot write .*inside: there is a file where"):
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
        with pytest.raises(StorageError, match="there is a f") as refused:
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
    said = r"x is damaged \(its content does not match its sha256\); ask for it again"
    with pytest.raises(StorageError, match=said):
        files.read_json(tmp_path / "x", mend="ask for it again")
    # Neither its spaces nor the order of its keys are content.
    found = json.loads(text)
    (tmp_path / "x").write_text(json.dumps(dict(reversed(found.items()))))
    assert files.read_json(tmp_path / "x") == {"score": 0.25, "rule": "dfa"}


def test_a_file_of_an_earlier_version_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"score": 0.25}')
    assert files.read_json(tmp_path / "x") == {"score": 0.25}


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("old", "new"):
        target, link = tmp_path / "there" / name, tmp_path / name
        link.symlink_to(Path("there", name))
        if name == "old":
            target.write_bytes(b"before")
            target.chmod(0o640)
        files.write_bytes(link, b"content")
        assert link.is_symlink()
        assert target.read_bytes() == b"content"
    assert (tmp_path / "there" / "old").stat().st_mode & 0o777 == 0o640
    assert {file.name for file in (tmp_path / "there").iterdir()} == {"old", "new"}


def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(StorageError, match=r"cannot write .*a: Too many levels"):
        files.write_bytes(tmp_path / "a", b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", bytes(200_000)  # more than it holds
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    with pytest.raises(StorageError, match=r"cannot write .*pipe: No such device"):
        files.write_bytes(pipe, content)  # nobody reads it
    with ThreadPoolExecutor(1) as other:
        found = other.submit(pipe.read_bytes)
        for _ in range(1000):
            with suppress(StorageError):  # it has not begun to read
                files.write_bytes(tmp_path / "link", content)
                break
            time.sleep(0.01)
        assert found.result(10) == content
    assert pipe.is_fifo()
    assert {file.name for file in tmp_path.iterdir()} == {"link", "pipe"}


def test_a_digest_whose_name_is_damaged_is_not_overlooked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.write_json(path, {"a": 1, "weights_sha256": "0" * 64})
    whole = path.read_text()
    for damaged in (whole.replace('"sha256": "', '"shb256": "'), whole.replace('sha256": "', "")):
        path.write_text(damaged)
        with pytest.raises(StorageError, match="x is damaged"):
            files.read_json(path)
    path.write_text('{"a": 1, "weights_sha256": "%s"}' % ("0" * 64))
    assert files.read_json(path) == {"a": 1, "weights_sha256": "0" * 64}


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, '{"a": ' + "[" * 900 + "]" * 900 + "}"]
)
def test_brackets_within_one_another_are_a_damaged_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "x").write_text(content)
    with pytest.raises(StorageError, match="x is damaged"):
        files.read_json(tmp_path / "x")


def test_a_number_of_hundreds_of_digits_is_no_figure(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(f'{{"a": {"9" * 400}}}')
    assert files.read_json(tmp_path / "x") == {"a": None}


def test_any_changed_bit_of_a_sealed_file_is_seen(tmp_path: Path) -> None:
    files.write_sealed(tmp_path / "x", b"content")
    assert files.read_sealed(tmp_path / "x") == b"content"
    whole = (tmp_path / "x").read_bytes()
    for place in range(len(whole)):
        for changed in (whole[:place], flipped(whole, place, place % 8)):
            (tmp_path / "x").write_bytes(changed)
            assert files.read_sealed(tmp_path / "x") is None


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
