"""Commands in separate processes without start-up time: forked from one with all imports."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.faults.tally import Tally, not_a_sentence
from beyondprop.cli import app

PATIENCE = 120.0
"""Seconds after which a child counts as hanging."""

Prepare = Callable[[], object]


def nothing() -> None:
    """Do nothing before the command starts, as most children do."""


def work(words: Sequence[str], printed: str, environment: Mapping[str, str], ready: Prepare) -> int:
    """Run a command in a child process, with its output in files."""
    os.environ |= environment
    sys.stdout = Path(f"{printed}.out").open("w", buffering=1)  # noqa: SIM115
    sys.stderr = Path(f"{printed}.err").open("w", buffering=1)  # noqa: SIM115
    ready()
    sys.exit(app.main(words))


@dataclass
class Child:
    """A running command.

    Attributes:
        process: Its process.
        printed: The path of its output, without the suffix.
        memory: The largest observed memory in MiB.
    """

    process: BaseProcess
    printed: Path
    memory: float = 0.0

    def said(self) -> str:
        """Return its messages on standard error, without progress bars."""
        return Path(f"{self.printed}.err").read_text()

    def lives(self) -> bool:
        """Return whether it is running, and update its memory."""
        self.memory = max(self.memory, peak(self.process.pid))
        return self.process.is_alive()

    def end(self, seconds: float = PATIENCE) -> int | None:
        """Wait for it, and return its exit code; None if it had to be killed."""
        until = time.monotonic() + seconds
        while self.lives() and time.monotonic() < until:
            self.process.join(0.02)
        hangs = self.process.is_alive()
        self.kill()
        return None if hangs else self.process.exitcode

    def kill(self) -> None:
        """Kill it immediately, as the system does when memory is short."""
        self.process.kill()
        self.process.join()


def begin(
    words: Sequence[str],
    printed: Path,
    environment: Mapping[str, str] | None = None,
    ready: Prepare = nothing,
) -> Child:
    """Start a command.

    Args:
        words: The words after `beyondprop`.
        printed: The path of its output, without the suffix.
        environment: Additional environment variables.
        ready: A function that is called in its process before the command starts.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["beyondprop.cli.app", "torch._dynamo", "benchmarks.faults"])
    given = {"OMP_NUM_THREADS": "1", **(environment or {})}
    process = context.Process(target=work, args=(list(words), str(printed), given, ready))
    process.start()
    return Child(process, printed)


def peak(pid: int | None) -> float:
    """Return the peak memory of a process in MiB; 0 if the system does not report it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def refusal(child: Child, code: int | None) -> str:
    """Return what is wrong with the end of a command that could not do its work."""
    said = child.said()
    if code != 2:
        return f"exit code {code}: {said[-300:]!r}"
    lines = [line for line in said.splitlines() if line.startswith("beyondprop")]
    if "Traceback" in said or len(lines) != 1:
        return f"{len(lines)} sentences: {said[-500:]!r}"
    return not_a_sentence(lines[0])


def count(tally: Tally, name: str, child: Child, fault: str, refused: bool) -> None:
    """Count an attack on a command."""
    tally.memory = max(tally.memory, child.memory)
    tally.count(name, fault, refused)
