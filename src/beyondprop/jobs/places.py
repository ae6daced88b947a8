"""The place that the command line names."""

from __future__ import annotations

import importlib
import os
import sys

from beyondprop.errors import UserError, install
from beyondprop.files import GIB
from beyondprop.jobs.dask_cluster import DaskCluster
from beyondprop.jobs.place import Place
from beyondprop.jobs.processes import Processes
from beyondprop.jobs.ray_cluster import RayCluster
from beyondprop.jobs.workers import Workers

JOBS_A_CORE = 4


def find(workers: Workers, threads: int, accelerators: int = 0) -> Place | None:
    """Return the place of these workers; None for this process alone.

    Args:
        workers: The requested workers.
        threads: CPU threads of each job.
        accelerators: Number of accelerators that each job needs.

    Raises:
        UserError: The cluster is unknown, a package is missing, or there are far too many jobs.
    """
    if workers.serial:
        return None
    jobs, cluster, memory = workers.jobs, workers.cluster, workers.worker_memory
    if cluster is None:
        several = _checked(jobs or 1)
        # Drivers of accelerators map an unpredictable amount of memory, so there is no limit.
        share = None if accelerators else _share(several)
        return Processes(several, threads, memory or share)
    scheme = cluster.partition("://")[0]
    if cluster in ("ray", "auto") or scheme == "ray":
        _need("ray", cluster)
        address = "local" if cluster == "ray" else cluster
        return RayCluster(address, jobs, threads, memory, accelerators)
    if cluster == "dask" or scheme in ("tcp", "tls"):
        _need("distributed", cluster)
        return DaskCluster(None if cluster == "dask" else cluster, jobs, threads, memory)
    raise UserError(
        f"there is no cluster {cluster!r}; write ray://HOST:10001, auto, tcp://HOST:8786, ray or "
        "dask"
    )


def _checked(jobs: int) -> int:
    most = JOBS_A_CORE * (os.cpu_count() or 1)
    if jobs > most:
        raise UserError(f"jobs must be at most {most} on this machine, not {jobs}")
    return jobs


def _share(jobs: int) -> float | None:
    """Return each job's equal share of the machine's memory in GiB; None if it is not known."""
    if sys.platform != "linux":
        return None
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return round(total / GIB / jobs, 1)


def _need(package: str, cluster: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"the cluster {cluster} needs the package {package}: {install('cluster')}"
        ) from None
