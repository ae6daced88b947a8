"""The number and the place of workers, from the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass

from beyondprop.errors import UserError
from beyondprop.registry import check_fields


@dataclass(frozen=True)
class Workers:
    """Processes and machines that share the work.

    Attributes:
        jobs: Number of processes, each of which works on one trial or run at a time. It does not
            change any result. Default: 1, this process alone; on a cluster, its number of cores.
        cluster: Cluster to work on: ray://HOST:10001 for Ray, auto for this machine's Ray cluster,
            or tcp://HOST:8786 for Dask. The values ray and dask start one on this machine. All
            machines must see the output folder at the same path. Needs the extra `cluster`.
        worker_memory: Memory limit of each worker process in GiB, on Linux. Work that needs more
            fails and is recorded as failed. Default: the machine's memory divided by the jobs; no
            limit with an accelerator.

    Raises:
        UserError: A number is too small.
    """

    jobs: int | None = None
    cluster: str | None = None
    worker_memory: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"jobs must be at least 1, not {self.jobs}")
        if self.worker_memory is not None and not 0 < self.worker_memory < math.inf:
            raise UserError(f"worker_memory must be positive, not {self.worker_memory}")

    @property
    def serial(self) -> bool:
        """Whether this process does everything itself."""
        return self.cluster is None and self.jobs in (None, 1)


SERIAL = Workers()
"""This process alone."""
