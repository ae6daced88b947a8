"""Work that workers can import."""

import os
import signal
import time
from functools import partial
from pathlib import Path

from rich.progress import Progress

from beyondprop.files import StorageError
from beyondprop.jobs import Job


def job(name, work, *arguments, **fields):
    return Job(name, partial(work, *arguments), **fields)


def square(number: int, _: Progress) -> int:
    return number**2


def where(_: Progress) -> int:
    return os.getpid()


def workers(_: Progress) -> list[str]:
    """Return the commands of this process's children, but those that clean up after others."""
    found = []
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            found += [] if "resource_tracker" in command else [command]
    return found


def breaks(_: Progress) -> int:
    raise ValueError("no\nluck")


def full(_: Progress) -> int:
    raise StorageError("the disk is full")


def die(_: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(mark: Path, progress: Progress) -> int:
    """Die at the first call, return how often it was called at the second."""
    calls = len(list(mark.parent.glob(f"{mark.name}*")))
    mark.with_name(f"{mark.name}{calls}").touch()
    if not calls:
        die(progress)
    return calls + 1


def slowly(seconds: float, progress: Progress) -> str:
    bar = progress.add_task("slow work", total=10)
    for _ in range(10):
        time.sleep(seconds / 10)
        progress.advance(bar)
    return "slow"


def settings(_: Progress) -> dict[str, object]:
    import resource

    return {
        "omp": os.environ.get("OMP_NUM_THREADS"),
        "memory": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "ctrl_c": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    }


def greedy(_: Progress) -> int:
    return len(bytearray(3 * 2**30))
