from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch

from beyondprop.experiment.provenance import (
    COMMIT,
    command,
    commit,
    hardware,
    provenance,
    session,
    versions,
)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/somewhere/bin/beyondprop", "train", "--seed", "1"], "beyondprop train --seed 1"),
        (["/x/beyondprop/__main__.py", "list"], "python -m beyondprop list"),
        (["/x/study.py", "a b", "it's"], "study.py 'a b' 'it'\"'\"'s'"),
        ([""], "python"),
        (["beyondprop", "train", "--data", "/a/b"], "beyondprop train --data .../b"),
        (["beyondprop", "train", "--data=/a/b c"], "beyondprop train '--data=.../b c'"),
    ],
)
def test_the_command_is_as_one_would_type_it(argv: list[str], expected: str) -> None:
    assert command(argv) == expected


def test_the_users_folder_is_not_told() -> None:
    home = str(Path.home())
    assert command(["beyondprop", "report", f"{home}/runs/x"]) == "beyondprop report ~/runs/x"


def test_a_record_says_where_it_comes_from() -> None:
    started = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    found = provenance(started)
    assert set(found) == {
        *("command", "versions", "hardware", "commit", "started", "finished", "sessions")
    }
    assert found["sessions"] == []
    assert provenance(started, [session(started)])["sessions"][0]["started"] == found["started"]
    assert found["started"] == "2026-01-01T10:00:00+00:00"
    assert datetime.fromisoformat(found["finished"]) <= datetime.now(UTC)
    assert versions()["torch"] == torch.__version__


def test_the_hardware_is_told() -> None:
    found = hardware()
    assert found["cpu"]
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert found["memory_gib"] is None or found["memory_gib"] > 0.1


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_tracked_sources_alone(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "other").write_text("1")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-m", "first")
    source = tmp_path / "provenance.py"
    source.write_text("1")
    assert commit(tmp_path) is None  # an installed copy inside somebody's repository
    git(tmp_path, "add", "provenance.py")
    git(tmp_path, "commit", "-m", "second")
    found = commit(tmp_path)
    assert found is not None
    assert len(found) == 40
    source.write_text("2")
    assert commit(tmp_path) == f"{found}-dirty"
    assert commit(tmp_path / "missing") is None


def test_the_commit_is_that_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise AssertionError("git is asked when the code is loaded, not later")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert provenance(datetime.now(UTC))["commit"] == COMMIT
