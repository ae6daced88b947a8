"""The peak memory of a training step."""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker

import torch

from beyondprop.errors import UserError
from beyondprop.measure.base import Column, Figures, Measure, MeasureTraits, Step, Subject, given
from beyondprop.measure.memory_child import run as measure_here

RESOLUTION = 32 * 2**20
"""Minimum bytes for figures of the operating system; they are off by up to 0.5 MB."""

ENVIRONMENT = {
    # glibc would keep freed memory, which would hide the next step's peak.
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "KINETO_LOG_LEVEL": "99",
}


@dataclass(frozen=True)
class PeakMemory:
    """Memory of training steps beyond what the model and the optimizer held before the first one.

    Gradients, the optimizer's state, activations and feedback matrices all count.

    Attributes:
        tensor_bytes: Peak memory of tensors, counted by PyTorch's allocator: identical in every
            repetition, but without the memory of other libraries.
        resident_bytes: Peak memory that the operating system reports, which includes everything;
            None if tensors are on an accelerator, or the system does not report it.
        method: How the figures were measured, in words.
    """

    tensor_bytes: int
    resident_bytes: int | None
    method: str

    @property
    def bytes(self) -> int:
        """The figure to report: the system's figure, or that of tensors if the former is too
        coarse.
        """
        coarse = self.resident_bytes is None or self.resident_bytes < RESOLUTION
        return self.tensor_bytes if coarse else self.resident_bytes or 0

    def ratio(self, reference: "PeakMemory") -> float | None:
        """Return the ratio to ``reference``, both measured the same way; None if the reference is
        0.
        """
        ours, theirs = self.resident_bytes or 0, reference.resident_bytes or 0
        if min(ours, theirs) < RESOLUTION:
            ours, theirs = self.tensor_bytes, reference.tensor_bytes
        return ours / theirs if theirs else None


def peak_memory(
    build: Callable[[], Step], steps: int = 2, device: torch.device | str = "cpu"
) -> PeakMemory:
    """Peak memory of training steps, in a fresh process, beyond that of the model at rest.

    A script that calls this must guard its work with ``if __name__ == "__main__":``, as for all of
    `multiprocessing`.

    Args:
        build: Builds a new model and returns its step, for example ``functools.partial(rule_step,
            ...)``. It is pickled for the new process, so the names it uses must be defined at the
            top level of a module. A batch that is a slice of a data set is pickled with the
            complete data set: clone it.
        steps: Number of steps; at least two, as the first one creates the optimizer's state.
        device: Device of the step.

    Raises:
        UserError: ``build`` cannot be pickled, or the process died.
    """
    try:
        work = pickle.dumps(build)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"memory is measured in a fresh process, and the case cannot be sent there ({error}): "
            "define model, loss and optimizer as functions at the top level of a module"
        ) from error
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, work, steps, torch.device(device).type, torch.get_num_threads())
    process = context.Process(target=measure_here, args=arguments, daemon=True)
    try:
        with _environment(ENVIRONMENT), _no_interrupt():
            process.start()
        sender.close()
        answer = receiver.recv()
    except EOFError:
        answer = None
    except KeyboardInterrupt:
        if process.pid is not None:
            process.kill()  # it ignores Ctrl-C
            process.join()
        raise
    process.join()
    receiver.close()
    if answer is None:
        raise UserError(
            f"the process that measures memory ended with exit code {process.exitcode}: it ran out "
            'of memory, or the script lacks `if __name__ == "__main__":` around its work'
        )
    if isinstance(answer, str):
        raise UserError(f"memory could not be measured: {answer}")
    return PeakMemory(*answer)


class MemoryMeasure(Measure):
    """Peak memory of training steps, relative to plain PyTorch backprop.

    Known answers: gradients alone need as much memory as the parameters that get one, so no figure
    is zero. The memory of tensors repeats exactly; the operating system's figure does not.
    """

    name = "memory"
    title = "Peak memory"
    about = (
        "The peak memory of training steps in addition to the model at rest, measured in a fresh"
        " process and relative to plain PyTorch backprop."
    )
    traits = MeasureTraits(frozenset({"step", "plain_step"}), repeats=False, fresh_process=True)
    columns = (
        Column(
            "memory_ratio",
            "peak memory",
            "relative to backprop in plain PyTorch",
            unit="×",
            cost=True,
            beside=(Column("memory_bytes", "peak memory", unit="bytes"),),
        ),
    )

    def run(self, subject: Subject) -> Figures:
        """Return the memory relative to plain PyTorch."""
        return self.run_together([subject])[0]

    def run_together(self, subjects: Sequence[Subject]) -> list[Figures]:
        """Return the memory of each subject, all measured the same way, so that they are
        comparable.
        """
        if not subjects:
            return []
        builds = [given(subjects[0].plain_step, "a step in plain PyTorch")]
        builds += [given(each.step, "a step") for each in subjects]
        kind, held = of_one_kind([peak_memory(each, device=subjects[0].device) for each in builds])
        plain, *found = held
        return [
            Figures(
                values={
                    "memory_bytes": bytes_,
                    "memory_ratio": bytes_ / plain if plain else None,
                    "memory_kind": kind,
                    "plain_memory_bytes": plain,
                }
            )
            for bytes_ in found
        ]

    def contradictions(self, subject: Subject, figures: Figures) -> Iterator[str]:  # noqa: ARG002
        """Gradients require memory."""
        if not figures.values["memory_bytes"] > 0:
            yield f"training steps took {figures.values['memory_bytes']} bytes"


def of_one_kind(peaks: Sequence[PeakMemory]) -> tuple[str, list[int]]:
    """Return the bytes of every case, all measured the same way.

    Returns:
        "resident" with the operating system's figures or, if those are too coarse for some case,
        "tensors" with the memory of tensors.
    """
    seen = [peak.resident_bytes or 0 for peak in peaks]
    if min(seen) >= RESOLUTION:
        return "resident", seen
    return "tensors", [peak.tensor_bytes for peak in peaks]


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Start child processes with Ctrl-C ignored, which would print a traceback of their imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first child starts it, and that lifts the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Start child processes with these environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
