"""Jobs packed as bytes for a worker, and their execution by the worker."""

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

from beyondprop.errors import UserError, one_line
from beyondprop.jobs.board import board_of, reporting
from beyondprop.jobs.job import Job, Outcome, attempt
from beyondprop.jobs.lock import shared

ALONE = threading.Lock()
"""Lock of this process's job, because generators and threads are settings of the process."""


class Packed(NamedTuple):
    """A job as bytes.

    Attributes:
        name: Name of the job.
        work: The job's pickled work.
        path: The sender's module search path.
        here: The sender's current directory, for relative file names.
        board: The board on which the job is reported.
    """

    name: str
    work: bytes
    path: tuple[str, ...]
    here: Path
    board: Path


def pack(jobs: Sequence[Job], folder: Path) -> list[Packed]:
    """Return the jobs as bytes.

    Raises:
        UserError: A part of the work cannot be pickled.
    """
    import cloudpickle

    packed = []
    for job in jobs:
        try:
            work = cloudpickle.dumps(job.work)
        except Exception as error:  # any error of a user's object when it is pickled
            raise UserError(
                f"{job.name} cannot be sent to another process ({one_line(error)}): use objects "
                "that can be pickled, such as functions of a module, or set jobs=1"
            ) from error
        packed.append(Packed(job.name, work, tuple(sys.path), Path.cwd(), board_of(folder)))
    return packed


def carry_out(packed: Packed) -> Outcome:
    """Return the outcome of a job, in a worker."""
    with ALONE:
        return attempt(packed.name, partial(_work, packed))


def _work(packed: Packed) -> Any:
    for folder in (packed.board, packed.here):
        if not folder.is_dir():
            raise UserError(
                f"the worker on {socket.gethostname()} does not see the folder {folder}: use a "
                "folder that all machines of the cluster see at the same path"
            )
    import cloudpickle

    os.chdir(packed.here)
    sys.path += [place for place in packed.path if place not in sys.path]
    progress = Progress(disable=True)
    with shared(packed.board.parent), reporting(packed.board, packed.name, progress):
        return cloudpickle.loads(packed.work)(progress)
