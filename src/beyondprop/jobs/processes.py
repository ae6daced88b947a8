"""Processes of this machine, by joblib's loky."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beyondprop._torch.processes import end_at_once
from beyondprop.files import GIB
from beyondprop.jobs.job import Outcome
from beyondprop.jobs.packing import Packed, carry_out
from beyondprop.jobs.place import Place
from beyondprop.jobs.rounds import in_rounds


@dataclass(frozen=True)
class Processes(Place):
    """Processes of this machine.

    Attributes:
        jobs: How many.
        threads: CPU threads of each.
        memory: GiB that each may take, on Linux; None for no limit.
    """

    jobs: int
    threads: int
    memory: float | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Workers start with the first job, and end with this."""
        from joblib.externals.loky import get_reusable_executor

        try:
            yield
        finally:
            get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)

    def carry_out(self, jobs: Sequence[Packed], board: Path) -> Iterator[Outcome]:
        """Yield what comes of each job; see `Place`."""
        return in_rounds(jobs, self._round, board)

    def describe(self) -> dict[str, Any]:
        """Return what a record says of the workers."""
        found = {"kind": "processes", "jobs": self.jobs, "threads": self.threads}
        return found | {"memory_gib": self.memory}

    def _round(self, jobs: Sequence[Packed]) -> Generator[Outcome, None, None]:
        from joblib import Parallel, delayed, parallel_config

        with parallel_config(
            backend="loky",
            n_jobs=max(self.jobs, 2),  # with one joblib would work in this process
            inner_max_num_threads=self.threads,
            initializer=begin,
            initargs=(self.memory, os.getpid()),
        ):
            pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
            with warnings.catch_warnings():
                # A worker that has taken up much memory is replaced by a fresh one; and whoever
                # stops half-way knows what is lost.
                warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
                warnings.filterwarnings("ignore", ".*(tasks have been|tasks which were)")
                yield from pool(delayed(carry_out)(job) for job in jobs)


def begin(memory: float | None, parent: int) -> None:
    """Prepare a worker: it ends with its parent, leaves Ctrl-C to it, and keeps to its memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    if memory is not None and sys.platform == "linux":
        import resource  # Windows has none

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory * GIB), hard))


def end_with(parent: int) -> None:
    """End this process soon after the one that started it: one that is killed leaves no others."""
    while os.getppid() == parent:
        time.sleep(0.5)
    end_at_once()
