"""The processes of a run on several processes, which `torchrun` starts."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist

from beyondprop._torch.processes import processes
from beyondprop.errors import UserError, shown
from beyondprop.experiment.plan import RunPlan
from beyondprop.registry import label
from beyondprop.schedules.messages import share

PIPELINE = "pipeline"
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = timedelta(minutes=10)
"""How long processes wait for one that runs but does not answer; one that ended is noticed
immediately. The others wait while the first one evaluates."""

MEETING = timedelta(minutes=3)
"""How long they wait for one that has not started yet, or ended before it connected."""

T = TypeVar("T")


@contextmanager
def joined(plan: RunPlan) -> Iterator[None]:
    """Join the processes of a pipeline; other schedules do nothing.

    Raises:
        UserError: A pipeline was not started by `torchrun`, or another schedule was; a variable
            that it sets is invalid; or the other processes do not start or cannot be reached.
    """
    if plan.schedule != PIPELINE:
        if _number("WORLD_SIZE", least=1) > 1 and not dist.is_initialized():
            raise UserError(
                "every process would train the same run: add schedule=pipeline, or start one "
                "process without torchrun"
            )
        yield
        return
    if dist.is_initialized():  # the caller's group
        yield
        return
    if any(name not in os.environ for name in NEEDED):
        raise UserError(
            "a pipeline needs several processes: start it with torchrun --nproc-per-node 2 -m "
            f"beyondprop train --task {label(plan.task)} --rule {plan.name} --schedule pipeline"
        )
    _number("RANK", most=_number("WORLD_SIZE", least=1) - 1)
    _number("MASTER_PORT", least=1, most=65535)
    backend = "gloo"
    if torch.device(plan.device).type == "cuda":
        torch.cuda.set_device(_number("LOCAL_RANK"))
        backend = "nccl"
    _meet(backend)
    try:
        with _told_to_stop():
            yield
    finally:
        # Sent tensors refer to the group, and are in reference cycles. If they were left to the
        # interpreter's end, gloo's threads would outlive the group and could abort the process.
        gc.collect()
        dist.destroy_process_group()


def _number(name: str, least: int = 0, most: int | None = None) -> int:
    """Return a whole number from a variable that `torchrun` sets; ``least`` if it is not set.

    Raises:
        UserError: It is not a whole number, or out of its range.
    """
    text = os.environ.get(name, str(least))
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        numbers = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(
            f"{name} must be a whole number {numbers}, not {shown(text)}: start the processes with "
            "torchrun, which sets it, or correct it"
        )
    return value


def _meet(backend: str) -> None:
    """Wait for the other processes, then form a group with them.

    Raises:
        UserError: Some do not start in time, or cannot be reached.
    """
    from torch.distributed.rendezvous import rendezvous  # some builds of PyTorch lack it

    begun = time.monotonic()
    try:
        store, rank, size = next(rendezvous("env://", timeout=MEETING))
    except dist.DistError as error:
        at_once = time.monotonic() - begun < MEETING.total_seconds()
        raise _cannot_meet(error) if at_once else _have_not_come() from None
    store.set_timeout(PATIENCE)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)


def _cannot_meet(error: Exception) -> UserError:
    """Return the error for an address that cannot be used, such as one with a port in use."""
    address, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    reason = str(error).partition("\n")[0].rstrip(".")
    return UserError(
        f"process {os.environ['RANK']} cannot connect to the others at {address}, port {port} "
        f"({reason}): give all processes another MASTER_PORT that no program uses, and set "
        "MASTER_ADDR to the address of process 0's machine"
    )


def _have_not_come() -> UserError:
    """Return the error for processes that have not started in time."""
    return UserError(
        f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} has waited for the others "
        f"for {MEETING}: start all of them within that time, with the same MASTER_ADDR and "
        "MASTER_PORT"
    )


def on_first(action: Callable[[], T]) -> T:
    """Call ``action`` on the first process only, and return its result on every process.

    Raises:
        UserError: The action raised it on the first process; every process raises it.
    """
    if processes() == 1:
        return action()
    found: tuple[T | None, str | None] = (None, None)
    if dist.get_rank() == 0:
        try:
            found = action(), None
        except UserError as problem:
            share((None, str(problem)), 0)
            raise
    value, problem_there = share(found, 0)
    if problem_there is not None:
        raise UserError(problem_there)
    result: T = value
    return result


def of_each(value: Any) -> list[Any]:
    """Return every process's value, on all processes."""
    return [share(value, rank) for rank in range(processes())]


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """Report why if `torchrun` stops this process, which it does when another one ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise UserError(
        f"stage {dist.get_rank()} received a signal to stop, as happens when another stage ends: "
        "start all stages again with resume=True to continue from the last checkpoint"
    )
