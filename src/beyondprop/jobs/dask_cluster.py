"""A Dask cluster, used through joblib's backend for it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beyondprop.jobs.job import Outcome
from beyondprop.jobs.packing import Packed, carry_out
from beyondprop.jobs.place import Place, reached
from beyondprop.jobs.rounds import in_rounds


@dataclass(frozen=True)
class DaskCluster(Place):
    """A Dask cluster.

    Attributes:
        address: Address of the scheduler; None to start one on this machine.
        jobs: Number of parallel jobs; None for all cores.
        threads: CPU threads of each job.
        memory: Memory limit of each worker on this machine, in GiB.
    """

    address: str | None
    jobs: int | None
    threads: int
    memory: float | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Connect to the scheduler."""
        with self._client():
            yield

    def carry_out(self, jobs: Sequence[Packed], board: Path) -> Iterator[Outcome]:
        """Yield the outcome of each job; see `Place`."""
        return in_rounds(jobs, self._round, board)

    def describe(self) -> dict[str, Any]:
        """Return the description of the workers for a record."""
        return {"kind": "dask", "jobs": self.jobs, "threads": self.threads}

    def _client(self) -> Any:
        from distributed import Client

        if self.address is not None:
            with reached(self.address):
                return Client(self.address)
        memory = "auto" if self.memory is None else int(self.memory * 2**30)
        return Client(
            n_workers=self.jobs, threads_per_worker=1, memory_limit=memory, dashboard_address=None
        )

    def _round(self, jobs: Sequence[Packed]) -> Generator[Outcome, None, None]:
        from joblib import Parallel, delayed, parallel_config

        with parallel_config(backend="dask"):
            pool = Parallel(
                return_as="generator_unordered",
                batch_size=1,
                pre_dispatch="n_jobs" if self.jobs is None else self.jobs,
            )
            yield from pool(delayed(carry_out)(job) for job in jobs)
