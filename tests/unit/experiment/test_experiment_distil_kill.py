"""A distillation by two workers whose processes are really killed, at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from test_experiment_clusters import DISTIL, descendants, distilled, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds children as Linux does"),
]

COMMAND = (*DISTIL, "--jobs", "2", "--resume")
MOMENTS = 30


def begun(home: Path) -> subprocess.Popen[bytes]:
    with (home / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "beyondprop", *COMMAND],
            cwd=home,
            env=environment(home),
            stdout=log,
            stderr=log,
        )


def kept(folder: Path) -> dict[Path, bytes]:
    """All that is finished: students, whole models and the teacher, each as its record says."""
    files = (*folder.rglob("record.json"), *folder.glob("*/whole/**/*.json"))
    return {file: file.read_bytes() for file in files}


def end(process: subprocess.Popen[bytes], worker: bool, chosen: random.Random) -> None:
    """Kill one of the workers, if there are any yet, or the main process.

    Where a worker was killed its job is done again, and the command ends as if nothing had been.
    """
    found = descendants(process.pid) if worker else []
    with suppress(ProcessLookupError):  # a worker that has ended meanwhile
        os.kill(chosen.choice(found) if found else process.pid, signal.SIGKILL)
    assert process.wait() == (0 if found else -signal.SIGKILL)


def test_nothing_finished_is_lost_where_processes_are_killed(tmp_path: Path) -> None:
    calm, folder = tmp_path / "calm", tmp_path / "killed"
    for home in (calm, folder):
        home.mkdir()
    started = time.monotonic()
    assert begun(calm).wait() == 0
    whole = time.monotonic() - started
    chosen, again, killed = random.Random(0), 0, 0
    while killed < MOMENTS:
        process = begun(folder)
        try:
            process.wait(chosen.uniform(0.1, 0.9) * whole)
        except subprocess.TimeoutExpired:
            before = kept(folder / "c")
            end(process, killed % 2 == 1, chosen)
            killed += 1
            after = kept(folder / "c")
            assert all(after[file] == content for file, content in before.items())
        if (folder / "c" / "distillation.json").exists():
            assert distilled(folder / "c") == distilled(calm / "c")
            again += 1
            (folder / "c").rename(folder / f"finished{again}")
    assert again or begun(folder).wait() == 0
    assert again or distilled(folder / "c") == distilled(calm / "c")
