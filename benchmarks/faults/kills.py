"""Kills at random moments: a resumed run ends with the same bytes as an undisturbed one."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.faults.children import Child, refusal
from benchmarks.faults.tally import Tally
from benchmarks.faults.ways import COMPARE, PIPELINE, TRAIN, Way, finished, left

PLAN: tuple[tuple[Way, int, int], ...] = (
    (TRAIN, 1, 50),
    (COMPARE, 1, 12),
    (PIPELINE, 1, 10),
    (TRAIN, 2, 10),
    (COMPARE, 2, 4),
)
"""The work, the number of kills in each folder, and the number of folders: 100 kills in total."""


SECONDS = 20
"""Seconds within which a process must notice that another one has ended, on a busy machine."""


def attack(tally: Tally, plan: Sequence[tuple[Way, int, int]] = PLAN, seed: int = 0) -> None:
    """Kill work at random moments, resume it, and compare the results."""
    draw = random.Random(seed)
    with TemporaryDirectory() as path:
        folder = Path(path)
        for way, kills, folders in plan:
            expected = way.made(folder / "whole")
            begun = time.monotonic()  # all imports are done now
            if way.made(folder / "again") != expected:
                tally.faults.append(f"{way.name}: another result without kills")
            seconds = time.monotonic() - begun
            shutil.rmtree(folder / "again")
            for number in range(folders):
                name = f"{way.name}, {number}, {kills} kills"
                at = folder / f"{way.name}-{number}"
                faults = [killed(tally, way, at, draw, seconds) for _ in range(kills)]
                resumed = ended(tally, way, at, expected)
                for fault in faults:  # no kill counts as right if the work ends wrong
                    tally.count(name, fault or resumed, refused=False)
                shutil.rmtree(at)
            shutil.rmtree(folder / "whole")


def killed(tally: Tally, way: Way, folder: Path, draw: random.Random, seconds: float) -> str:
    """Start or continue work, and kill one of its processes; return what was wrong.

    Work that ends before the kill is started again from scratch, and killed earlier.
    """
    part = draw.random()
    for _ in range(20):
        children = way.begin(folder)
        victim = draw.randrange(len(children))
        until = time.monotonic() + part * seconds
        while children[victim].lives() and time.monotonic() < until:
            time.sleep(0.002)
        dies = children[victim].process.is_alive()
        children[victim].kill()
        if dies and children[victim].process.exitcode == -signal.SIGKILL:
            others = [child for place, child in enumerate(children) if place != victim]
            return next(filter(None, [widowed(tally, child) for child in others]), "")
        for child in children:
            child.end()
        shutil.rmtree(folder, ignore_errors=True)
        part *= 0.8
    return "it ends before it can be killed"


def widowed(tally: Tally, child: Child) -> str:
    """Return what is wrong with the end of a process after another one was killed.

    A process that waits for the other one to start is stopped, as `torchrun` does.
    """
    until = time.monotonic() + SECONDS
    while child.lives() and time.monotonic() < until:
        time.sleep(0.02)
    child.process.terminate()
    code = child.end()
    if code == -signal.SIGTERM and not child.said():
        return ""
    tally.memory = max(tally.memory, child.memory)
    return "" if code == 0 else refusal(child, code)


def ended(tally: Tally, way: Way, folder: Path, expected: Any) -> str:
    """Continue work to its end; return what is wrong with the results."""
    before = finished(folder)
    children = way.begin(folder)
    codes = [child.end() for child in children]
    tally.memory = max(tally.memory, *(child.memory for child in children))
    if any(codes):
        return f"exit codes {codes}: {children[0].said()[-300:]!r}"
    if any(not file.exists() or file.read_bytes() != was for file, was in before.items()):
        return "it has changed finished results"
    found = left(folder)
    wrong = [key for key in {*found, *expected} if found.get(key) != expected.get(key)]
    return f"it has left other {', '.join(wrong)}" if wrong else ""
