"""Jobs on their way to a worker, and what a worker does with one."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from beyondprop.errors import UserError
from beyondprop.jobs.board import board_of, reporting
from beyondprop.jobs.job import Job, Outcome, attempt
from beyondprop.jobs.lock import shared
from beyondprop.registry.dotted import one_line

ALONE = threading.Lock()
"""Held by the job of this process: generators and threads are settings of the whole process."""


class Packed(NamedTuple):
    """A job as bytes.

    Attributes:
        name: The job's.
        work: Its pickled work.
        path: Where the sender finds modules.
        here: The sender's current directory, for names of files that are relative to it.
        board: Where it is reported.
    """

    name: str
    work: bytes
    path: tuple[str, ...]
    here: Path
    board: Path


def pack(jobs: Sequence[Job], folder: Path) -> list[Packed]:
    """Return the jobs as bytes.

    Raises:
        UserError: Something that the work holds cannot leave this process.
    """
    import cloudpickle

    packed = []
    for job in jobs:
        try:
            work = cloudpickle.dumps(job.work)
        except Exception as error:  # whatever a user's object does when it is pickled
            raise UserError(
                f"{job.name} cannot be sent to another process ({one_line(error)}): give what "
                "pickles, such as functions of a module, or work with jobs=1"
            ) from error
        packed.append(Packed(job.name, work, tuple(sys.path), Path.cwd(), board_of(folder)))
    return packed


def carry_out(packed: Packed) -> Outcome:
    """Return what comes of a job, in a worker."""
    with ALONE:
        return attempt(packed.name, partial(_work, packed))


def _work(packed: Packed) -> Any:
    for folder in (packed.board, packed.here):
        if not folder.is_dir():
            raise UserError(
                f"the worker on {socket.gethostname()} does not see the folder {folder}: work in "
                "one that all machines of the cluster find under the same path"
            )
    import cloudpickle

    os.chdir(packed.here)
    sys.path += [place for place in packed.path if place not in sys.path]
    progress = Progress(disable=True)
    with shared(packed.board.parent), reporting(packed.board, packed.name, progress):
        return cloudpickle.loads(packed.work)(progress)
