"""Disks that are full, cannot be written to, or vanish: one sentence, and nothing lost."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.children import Child, Prepare, begin, count, nothing, refusal
from benchmarks.faults.tally import Tally
from benchmarks.faults.ways import COMPARE, PIPELINE, TRAIN, Way, finished, left

CAPABILITIES = 0x20080522
"""The version of Linux's capabilities that is spoken."""
OVERRIDES = 0b110
"""Those of reading and writing against permissions."""
SIZES = (1_000, 2_000, 4_000, 8_000)
"""Bytes that a file may have, also that of the messages; a checkpoint of the task has more."""
MOMENTS = 2


def attack(tally: Tally, seed: int = 0) -> None:
    """Attack by each of the three."""
    full(tally)
    read_only(tally)
    vanishing(tally, seed)


def full(tally: Tally, ways: Sequence[Way] = (TRAIN, COMPARE)) -> None:
    """Have files that cannot grow, a device that is full, and a disk that is.

    When there is room again the same command goes on, to the same end.
    """
    with TemporaryDirectory() as path:
        folder = Path(path)
        for way in ways:
            expected = way.made(folder / f"whole-{way.name}")
            for size in SIZES:
                at = folder / f"{way.name}-{size}"
                name = f"{way.name}, files of {size} bytes"
                refused_then_whole(tally, name, way, at, expected, partial(no_more_than, size))
            with small_disk(folder / "disk") as disk:
                if disk is None:
                    tally.skipped.append("a full disk: this user may not mount one")
                else:
                    full_disk(tally, way, disk, expected)
        page = begin(
            ("report", str(folder / f"whole-{ways[-1].name}"), "--output", "/dev/full"),
            folder / "page",
        )
        code = page.end()
        count(tally, "report to a full device", page, refusal(page, code), refused=True)


def full_disk(tally: Tally, way: Way, disk: Path, expected: object) -> None:
    """Fill a disk but for a little, work on it, and make room."""
    for room in (0, 8_192):
        filling = disk / "filling"
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filling.write_bytes(bytes(free - room))
        name = f"{way.name}, a disk with {room} bytes left"
        refused_then_whole(
            tally,
            name,
            way,
            disk / str(room),
            expected,
            nothing,
            filling.unlink,
            disk.parent / name,
        )
        shutil.rmtree(disk / str(room))


def read_only(tally: Tally, ways: Sequence[Way] = (TRAIN, COMPARE)) -> None:
    """Have folders and files that cannot be written to, or not be read.

    A finished folder is only read: what it holds is returned, or refused, and stays.
    """
    with TemporaryDirectory() as path:
        folder = Path(path)
        for way in ways:
            whole = folder / way.name
            expected = way.made(whole)
            cases: list[tuple[str, Path, int]] = [
                ("no folder can be made", folder / "closed" / "run", 0o555),
                ("nothing can be written", folder / "closed", 0o555),
                ("nothing can be looked at", folder / "closed", 0o000),
                ("a finished folder", whole, 0o555),
            ]
            for what, at, mode in cases:
                closed = folder / "closed" if at != whole else whole
                closed.mkdir(exist_ok=True)
                before = finished(whole)
                with closed_to_others(closed, mode):
                    (child,) = way.begin(at, held_back)
                    code = child.end()
                fault = "" if code == 0 and at == whole else refusal(child, code)
                if finished(whole) != before or left(whole) != expected:
                    fault = "it has changed what was finished"
                count(tally, f"{way.name}, {what}", child, fault, refused=code != 0)


def vanishing(
    tally: Tally, seed: int = 0, ways: Sequence[Way] = (TRAIN, COMPARE, PIPELINE)
) -> None:
    """Delete, move or replace a folder while it is worked in: that is told, and none made anew."""
    draw = random.Random(seed)
    for way in ways:
        for vanish in (deleted, moved, replaced):
            for number in range(MOMENTS):
                with TemporaryDirectory() as path:
                    at = Path(path, "run")
                    children = way.begin(at, words=())
                    wait_for(at / "spec.json", children)
                    time.sleep(draw.uniform(0, 0.5))
                    done = (at / "record.json").exists() or (at / "comparison.json").exists()
                    vanish(at)
                    codes = [child.end() for child in children]
                    fault = ""
                    if any(codes):
                        fault = refusal(children[0], codes[0])
                    elif not done:
                        fault = "it ends as if all were done"
                    if at.exists() and any(at.iterdir()):
                        fault = f"it has written {[file.name for file in at.iterdir()]}"
                    name = f"{way.name}, {vanish.__name__} {number}"
                    count(tally, name, children[0], fault, refused=any(codes))


def refused_then_whole(
    tally: Tally,
    name: str,
    way: Way,
    folder: Path,
    expected: object,
    ready: Prepare,
    after: Callable[[], object] = nothing,
    printed: Path | None = None,
) -> None:
    """Work where there is no room, then where there is; count both as one attack."""
    (child,) = way.begin(folder, ready, printed=printed)
    code = child.end()
    fault = refusal(child, code) if code else ""
    after()
    (again,) = way.begin(folder, printed=printed)
    if again.end():
        fault = fault or f"it does not go on: {again.said()[-300:]!r}"
    elif left(folder) != expected:
        fault = fault or "it ends with something else"
    count(tally, name, child, fault, refused=code != 0)


def no_more_than(size: int) -> None:
    """Let no file of this process have more bytes than these."""
    import resource  # Windows has none

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def held_back() -> None:
    """Let permissions hold back this process, as they do everyone's but the administrator's."""
    if os.getuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)  # of this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    libc.capget(header, sets)
    for place in (0, 1):
        sets[place] &= ~OVERRIDES & 0xFFFFFFFF
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


@contextmanager
def closed_to_others(folder: Path, mode: int) -> Iterator[None]:
    """Set a folder's permissions, and put them back."""
    before = folder.stat().st_mode
    folder.chmod(mode)
    try:
        yield
    finally:
        folder.chmod(before)


@contextmanager
def small_disk(at: Path) -> Iterator[Path | None]:
    """Mount a disk of 4 MiB; None where this user may not."""
    at.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(at)]
    if sys.platform != "linux" or subprocess.run(words, capture_output=True).returncode:
        yield None
        return
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def wait_for(file: Path, children: Sequence[Child]) -> None:
    """Wait until there is a file, or nobody who could make it."""
    while not file.exists() and all(child.process.is_alive() for child in children):
        time.sleep(0.002)


def deleted(folder: Path) -> None:
    """Delete a folder in which files are made meanwhile."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    shutil.rmtree(aside)


def moved(folder: Path) -> None:
    """Move a folder."""
    folder.rename(folder.with_name("moved"))


def replaced(folder: Path) -> None:
    """Put another folder in the place of one."""
    moved(folder)
    folder.mkdir()
