"""Work that is divided among several processes: times of commands, and the speed-up over one."""

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from beyondprop.errors import UserError


def timed(commands: Sequence[Sequence[str]]) -> float:
    """Return the seconds that commands take when they run in parallel, each on one thread.

    Raises:
        UserError: A command failed.
    """
    begun = time.perf_counter()
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(each, env=one_thread, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for each in commands
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise UserError(f"a process ended with exit code {max(codes)}")
    return time.perf_counter() - begun


def in_turns(ways: Mapping[str, Sequence[Sequence[str]]], number: int) -> dict[str, float]:
    """Return the seconds of each way's commands; every round begins with another way.

    Args:
        ways: The commands of each way, which run in parallel.
        number: The number of the round.
    """
    turn = number % len(ways)
    names = [*ways][turn:] + [*ways][:turn]
    seconds = {name: timed(ways[name]) for name in names}
    return {name: seconds[name] for name in ways}


def gain(rows: Sequence[Mapping[str, Any]], what: str, one: str, many: str) -> list[str]:
    """Return a row: the speed-up of several processes in each round, the medians, and their ratio.

    Args:
        rows: The seconds of each way in each round.
        what: The name of the work.
        one: The way in one process.
        many: The way in several.
    """
    found = [row[one] / row[many] for row in rows]
    seconds = [statistics.median(row[way] for row in rows) for way in (one, many)]
    spread = f"{min(found):.2f} to {max(found):.2f}"
    shown = [f"{each:.1f} s" for each in seconds]
    return [what, spread, *shown, f"{statistics.median(found):.2f}×"]
