"""A Ray cluster."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beyondprop.jobs.job import Outcome
from beyondprop.jobs.packing import Packed, carry_out
from beyondprop.jobs.place import ATTEMPTS, Place, lost, reached

STORE = 100 * 2**20
"""Bytes of the shared memory of Ray's processes: jobs and their records are small."""


@dataclass(frozen=True)
class RayCluster(Place):
    """A Ray cluster; Ray restarts a job whose worker or machine dies.

    Attributes:
        address: Address for `ray.init`; "local" to start a cluster on this machine.
        jobs: Number of parallel jobs; None for all cores.
        threads: CPU threads, and cores, of each job.
        memory: Memory of each job in GiB.
        accelerators: Accelerators of each job.
    """

    address: str
    jobs: int | None
    threads: int
    memory: float | None = None
    accelerators: int = 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Connect to the cluster."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray warns about its future versions
            with reached(self.address):
                ray.init(self.address, logging_level="ERROR", log_to_driver=False, **self._own())
            try:
                yield
            finally:
                ray.shutdown()

    def carry_out(self, jobs: Sequence[Packed], board: Path) -> Iterator[Outcome]:  # noqa: ARG002
        """Yield the outcome of each job; see `Place`."""
        import ray

        task = ray.remote(carry_out).options(max_retries=ATTEMPTS - 1, **self._resources())
        waiting = list(reversed(jobs))
        running: dict[Any, str] = {}
        try:
            while waiting or running:
                while waiting and (self.jobs is None or len(running) < self.jobs):
                    job = waiting.pop()
                    running[task.remote(job)] = job.name
                with reached(self.address):
                    (done, *_), _ = ray.wait(list(running))
                    outcome = _outcome(done, running.pop(done))
                yield outcome
        finally:
            if ray.is_initialized():  # otherwise Ray would search for the cluster that is gone
                for left in running:
                    ray.cancel(left, force=True)

    def describe(self) -> dict[str, Any]:
        """Return the description of the workers for a record."""
        found = {"kind": "ray", "jobs": self.jobs, "threads": self.threads}
        return found | {"memory_gib": self.memory}

    def _own(self) -> dict[str, Any]:
        """Return the settings for a cluster that this process starts."""
        if self.address != "local":
            return {}
        cores = None if self.jobs is None else self.jobs * self.threads
        return {"num_cpus": cores, "object_store_memory": STORE, "include_dashboard": False}

    def _resources(self) -> dict[str, Any]:
        memory = {} if self.memory is None else {"memory": int(self.memory * 2**30)}
        return {"num_cpus": self.threads, "num_gpus": self.accelerators, **memory}


def _outcome(reference: Any, name: str) -> Outcome:
    import ray

    try:
        found: Outcome = ray.get(reference)
    except ray.exceptions.RayError:
        return lost(name)
    return found
