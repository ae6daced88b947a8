"""Processes of this machine, through joblib's loky backend."""

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
        jobs: Number of processes.
        threads: CPU threads of each process.
        memory: Memory limit of each process in GiB, on Linux; None for no limit.
    """

    jobs: int
    threads: int
    memory: float | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Stop the workers at the end; they start with the first job."""
        from joblib.externals.loky import get_reusable_executor

        try:
            yield
        finally:
            get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)

    def carry_out(self, jobs: Sequence[Packed], board: Path) -> Iterator[Outcome]:
        """Yield the outcome of each job; see `Place`."""
        return in_rounds(jobs, self._round, board)

    def describe(self) -> dict[str, Any]:
        """Return the description of the workers for a record."""
        found = {"kind": "processes", "jobs": self.jobs, "threads": self.threads}
        return found | {"memory_gib": self.memory}

    def _round(self, jobs: Sequence[Packed]) -> Generator[Outcome, None, None]:
        from joblib import Parallel, delayed, parallel_config

        with parallel_config(
            backend="loky",
            n_jobs=max(self.jobs, 2),  # with one, joblib would run jobs in this process
            inner_max_num_threads=self.threads,
            initializer=begin,
            initargs=(self.memory, os.getpid()),
        ):
            pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
            with warnings.catch_warnings():
                # joblib replaces a worker that uses much memory by a new one. Who interrupts the
                # work knows that tasks are lost.
                warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
                warnings.filterwarnings("ignore", ".*(tasks have been|tasks which were)")
                yield from pool(delayed(carry_out)(job) for job in jobs)


def begin(memory: float | None, parent: int) -> None:
    """Prepare a worker: it ends with its parent, ignores Ctrl-C, and has a memory limit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    if memory is not None and sys.platform == "linux":
        import resource  # Windows has none

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory * GIB), hard))


def end_with(parent: int) -> None:
    """End this process soon after its parent, so that a killed parent leaves no processes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    end_at_once()
