"""The processes of a run that lives on several, as `torchrun` starts them."""

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
"""How long processes wait for one that lives but does not answer; one that died is seen at once.
The first one evaluates while the others wait."""

MEETING = timedelta(minutes=3)
"""How long they wait for one that has not begun yet, or has ended before they met."""

T = TypeVar("T")


@contextmanager
def joined(plan: RunPlan) -> Iterator[None]:
    """Join the processes of a pipeline; one process joins nothing.

    Raises:
        UserError: A pipeline was not started by `torchrun`, or something else was; what it sets
            cannot be read; or the others do not come or cannot be met.
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
            "a pipeline lives on several processes: start it by torchrun --nproc-per-node 2 -m "
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
        # What was sent refers to the group, and lies in cycles: were it left to the interpreter's
        # end, gloo's threads would outlive the group, and could abort the process.
        gc.collect()
        dist.destroy_process_group()


def _number(name: str, least: int = 0, most: int | None = None) -> int:
    """Return a whole number that `torchrun` sets; the least one where it has set none.

    Raises:
        UserError: It is none, or out of its range.
    """
    text = os.environ.get(name, str(least))
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        numbers = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(
            f"{name} must be a whole number {numbers}, not {shown(text)}: start the processes by "
            "torchrun, which sets it, or set it right"
        )
    return value


def _meet(backend: str) -> None:
    """Wait for the other processes, then form a group with them.

    Raises:
        UserError: Some do not come, or cannot be met where they should be.
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
    """Return the error for a place of meeting that does not serve, as one with a port in use."""
    address, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    reason = str(error).partition("\n")[0].rstrip(".")
    return UserError(
        f"process {os.environ['RANK']} cannot meet the others at {address}, port {port} ({reason}):"
        " give all processes another MASTER_PORT, which no program uses, and as MASTER_ADDR the "
        "address of process 0's machine"
    )


def _have_not_come() -> UserError:
    """Return the error for processes that have not begun in time."""
    return UserError(
        f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} has waited for the others "
        f"for {MEETING}: start all of them within that time, with the same MASTER_ADDR and "
        "MASTER_PORT"
    )


def on_first(action: Callable[[], T]) -> T:
    """Return on every process what the first one makes of `action`; elsewhere it is not called.

    Raises:
        UserError: It was raised on the first process; every process raises it.
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
    """Return on every process what each gives."""
    return [share(value, rank) for rank in range(processes())]


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """Say why when `torchrun` stops this process, as it does when another has ended."""
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
        f"stage {dist.get_rank()} was told to stop, as happens when another stage is gone; start "
        "all stages again with resume=True to go on from the last checkpoint"
    )
