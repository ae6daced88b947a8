"""How many work, and where: what people say on the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass

from beyondprop.errors import UserError
from beyondprop.registry import check_fields


@dataclass(frozen=True)
class Workers:
    """Who does independent work.

    Attributes:
        jobs: Processes that work at once, each on one trial or run; results are the same to the
            byte. Default: 1, this process alone; on a cluster as many as it has cores.
        cluster: Work on a cluster: ray://HOST:10001 for Ray, auto for the Ray cluster that this
            machine belongs to, tcp://HOST:8786 for dask; ray or dask starts one on this machine.
            All machines must see the output folder under one path. Needs the extra `cluster`.
        worker_memory: GiB that a worker process may take, on Linux; what needs more fails and is
            recorded so. Default: the machine's memory divided by the jobs; with an
            accelerator no limit.

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
