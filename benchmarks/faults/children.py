"""Commands in processes of their own that begin at once: forked from one that has all imported."""

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
"""Seconds after which a child hangs."""

Prepare = Callable[[], object]


def nothing() -> None:
    """What most children do before they begin."""


def work(words: Sequence[str], printed: str, environment: Mapping[str, str], ready: Prepare) -> int:
    """Run a command in a child; what it prints goes to files."""
    os.environ |= environment
    sys.stdout = Path(f"{printed}.out").open("w", buffering=1)  # noqa: SIM115
    sys.stderr = Path(f"{printed}.err").open("w", buffering=1)  # noqa: SIM115
    ready()
    sys.exit(app.main(words))


@dataclass
class Child:
    """A command that runs.

    Attributes:
        process: Its process.
        printed: Where its output goes, but for the ending.
        memory: MiB that it has taken at most, as far as was seen.
    """

    process: BaseProcess
    printed: Path
    memory: float = 0.0

    def said(self) -> str:
        """Return what it has said on standard error, without the bars of progress."""
        return Path(f"{self.printed}.err").read_text()

    def lives(self) -> bool:
        """Return whether it runs; look at its memory."""
        self.memory = max(self.memory, peak(self.process.pid))
        return self.process.is_alive()

    def end(self, seconds: float = PATIENCE) -> int | None:
        """Wait for it, and return its exit code; None where it had to be killed."""
        until = time.monotonic() + seconds
        while self.lives() and time.monotonic() < until:
            self.process.join(0.02)
        hangs = self.process.is_alive()
        self.kill()
        return None if hangs else self.process.exitcode

    def kill(self) -> None:
        """End it at once, as the system does where memory is short."""
        self.process.kill()
        self.process.join()


def begin(
    words: Sequence[str],
    printed: Path,
    environment: Mapping[str, str] | None = None,
    ready: Prepare = nothing,
) -> Child:
    """Begin a command.

    Args:
        words: Behind `beyondprop`.
        printed: Where its output goes: a path without its ending.
        environment: What is set for it.
        ready: Called in its process before it begins.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["beyondprop.cli.app", "torch._dynamo", "benchmarks.faults"])
    given = {"OMP_NUM_THREADS": "1", **(environment or {})}
    process = context.Process(target=work, args=(list(words), str(printed), given, ready))
    process.start()
    return Child(process, printed)


def peak(pid: int | None) -> float:
    """Return the MiB that a process has taken at most; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def refusal(child: Child, code: int | None) -> str:
    """Return what is wrong with how a command ended that could not do its work."""
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
