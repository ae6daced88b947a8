"""One process at a time works in a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from beyondprop.errors import UserError
from beyondprop.files import StorageError, append_text, lock, write_bytes
from beyondprop.jobs.board import open_board
from beyondprop.jobs.lock import held, shared

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

HOLDS = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_folder_is_free_again_when_its_process_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match="another process works in"), held(tmp_path, 0.2):
            pass
        other.kill()
    with held(tmp_path, 5):
        pass


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    with held(tmp_path / "runs" / "empty"):
        assert (tmp_path / "runs" / "empty").is_dir()
    with held(tmp_path / "used"):
        (tmp_path / "used" / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="there is a file where"), held(tmp_path / "file"):
        pass


def test_half_written_files_of_killed_processes_are_removed_and_of_living_ones_stay(
    tmp_path: Path,
) -> None:
    for name in ("killed", "living", "just begun"):
        aside = tmp_path / f".{name}.beyondprop-tmp"
        aside.write_text("" if name == "just begun" else "half")
    living = os.open(tmp_path / ".living.beyondprop-tmp", os.O_RDONLY)
    assert lock(living)
    with held(tmp_path):
        left = sorted(file.name for file in tmp_path.iterdir())
        assert left == [".just begun.beyondprop-tmp", ".living.beyondprop-tmp"]
    os.close(living)
    os.utime(tmp_path / ".just begun.beyondprop-tmp", (0, 0))
    with held(tmp_path):
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_nothing_is_written_where_the_folder_is_gone(tmp_path: Path, how: str) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    with held(folder):
        write_bytes(folder / "inner" / "file", b"1")
        shutil.rmtree(folder) if how == "deleted" else folder.rename(elsewhere)
        if how == "replaced":
            folder.mkdir()
        for write in (
            lambda: write_bytes(folder / "inner" / "file", b"2"),
            lambda: append_text(folder / "log", "2"),
            lambda: open_board(folder),
        ):
            with pytest.raises(StorageError, match=r"folder was deleted, moved or replaced while"):
                write()
        write_bytes(tmp_path / "beside", b"3")
    assert not list(folder.iterdir()) if how == "replaced" else not folder.exists()


def test_a_worker_sees_that_its_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with shared(folder):
        write_bytes(folder / "file", b"1")
        shutil.rmtree(folder)
        with pytest.raises(StorageError, match="deleted, moved or replaced"):
            write_bytes(folder / "file", b"2")
    write_bytes(folder / "file", b"3")
    with pytest.raises(StorageError, match="No such file"), shared(tmp_path / "missing"):
        pass


def test_an_empty_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with held(tmp_path / "own"):
        pass
    assert (tmp_path / "own").is_dir()


def test_who_waits_takes_the_folder_that_is_there_when_it_is_free(tmp_path: Path) -> None:
    """The one who had it has removed it again, as nothing was put into it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    other = os.open(folder, os.O_RDONLY)
    assert lock(other)

    def leave() -> None:
        folder.rmdir()
        os.close(other)

    leaving = threading.Timer(0.15, leave)
    leaving.start()
    with held(folder, 10):
        write_bytes(folder / "file", b"")
    leaving.join()
    assert (folder / "file").exists()
