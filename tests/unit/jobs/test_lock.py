"""One process at a time works in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from beyondprop.errors import UserError
from beyondprop.files import StorageError
from beyondprop.jobs.lock import held

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
    with held(tmp_path / "empty"):
        assert (tmp_path / "empty").is_dir()
    with held(tmp_path / "used"):
        (tmp_path / "used" / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file stands where"), held(tmp_path / "file"):
        pass
