"""Full, read-only and vanishing disks: the error is one sentence, and no work is lost."""

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
"""The version of the Linux capabilities in use."""
OVERRIDES = 0b110
"""The capabilities to read and write in spite of permissions."""
SIZES = (1_000, 2_000, 4_000, 8_000)
"""Limits of the size of a file in bytes, also for messages; a checkpoint of the task is larger."""
MOMENTS = 2


def attack(tally: Tally, seed: int = 0) -> None:
    """Make all three attacks."""
    full(tally)
    read_only(tally)
    vanishing(tally, seed)


def full(tally: Tally, ways: Sequence[Way] = (TRAIN, COMPARE)) -> None:
    """Use files that cannot grow, a full device, and a full disk.

    Once there is space again, the same command continues to the same result.
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
    """Fill a disk almost completely, work on it, and free space."""
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
    """Use folders and files without permission to write, or to read.

    A finished folder is only read: its results are returned, or refused, and stay unchanged.
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
                    fault = "it has changed finished results"
                count(tally, f"{way.name}, {what}", child, fault, refused=code != 0)


def vanishing(
    tally: Tally, seed: int = 0, ways: Sequence[Way] = (TRAIN, COMPARE, PIPELINE)
) -> None:
    """Delete, move or replace a folder during work in it: the error says so; none is created."""
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
                        fault = "it ends as if it had finished"
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
    """Work without space, then with it; count both as one attack."""
    (child,) = way.begin(folder, ready, printed=printed)
    code = child.end()
    fault = refusal(child, code) if code else ""
    after()
    (again,) = way.begin(folder, printed=printed)
    if again.end():
        fault = fault or f"it does not continue: {again.said()[-300:]!r}"
    elif left(folder) != expected:
        fault = fault or "it ends with another result"
    count(tally, name, child, fault, refused=code != 0)


def no_more_than(size: int) -> None:
    """Limit the size of files that this process writes."""
    import resource  # not available on Windows

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def held_back() -> None:
    """Remove this process's privilege to ignore permissions, which administrators have."""
    if os.getuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)  # for this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    libc.capget(header, sets)
    for place in (0, 1):
        sets[place] &= ~OVERRIDES & 0xFFFFFFFF
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


@contextmanager
def closed_to_others(folder: Path, mode: int) -> Iterator[None]:
    """Set a folder's permissions, and restore them."""
    before = folder.stat().st_mode
    folder.chmod(mode)
    try:
        yield
    finally:
        folder.chmod(before)


@contextmanager
def small_disk(at: Path) -> Iterator[Path | None]:
    """Mount a disk of 4 MiB; None if this user may not."""
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
    """Wait until a file exists, or no process that could create it is left."""
    while not file.exists() and all(child.process.is_alive() for child in children):
        time.sleep(0.002)


def deleted(folder: Path) -> None:
    """Delete a folder in which files are being created."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    shutil.rmtree(aside)


def moved(folder: Path) -> None:
    """Move a folder."""
    folder.rename(folder.with_name("moved"))


def replaced(folder: Path) -> None:
    """Replace a folder by another one."""
    moved(folder)
    folder.mkdir()
