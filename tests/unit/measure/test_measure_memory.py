import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from beyondprop.errors import UserError
from beyondprop.measure import PeakMemory, Step, peak_memory
from beyondprop.measure import memory_child as child

MB = 10**6


def allocating(tensor: int, other: int) -> Step:
    """A step that holds bytes in a tensor and bytes outside PyTorch, and frees them."""
    held = torch.ones(50 * MB, dtype=torch.uint8)  # allocated before, so it must not count

    def step() -> None:
        block, filled = torch.ones(tensor, dtype=torch.uint8), bytearray(other)
        filled[::4096] = b"x" * len(filled[::4096])
        assert held[0] + block[0] == 2

    return step


def failing() -> Step:
    raise ValueError("no such luck")


def dying() -> Step:
    os._exit(7)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_a_step_allocates_is_seen() -> None:
    found = peak_memory(partial(allocating, 200 * MB, 100 * MB), steps=2)
    assert found.tensor_bytes == pytest.approx(200 * MB, abs=1000)
    assert found.resident_bytes == pytest.approx(300 * MB, rel=0.02)
    assert found.bytes == found.resident_bytes
    assert "high-water mark" in found.method


@pytest.mark.parametrize(
    ("build", "reason"),
    [(failing, "ValueError: no such luck"), (dying, "exit code 7")],
)
def test_a_process_that_cannot_measure_says_why(build: partial[Step], reason: str) -> None:
    before = dict(os.environ)
    with pytest.raises(UserError, match=reason):
        peak_memory(build)
    assert dict(os.environ) == before


def interrupted() -> Step:
    """A step that meets Ctrl-C, in a process that must be deaf to it, since its start too."""
    if signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        raise ValueError("its imports could have been interrupted")
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        raise ValueError("its steps could be interrupted")
    return partial(os.kill, os.getpid(), signal.SIGINT)


def interrupting() -> Step:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(30)
    raise AssertionError("nobody ended this process")


posix = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signal masks")


@posix
def test_the_process_does_not_hear_of_ctrl_c() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    peak_memory(interrupted)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@posix
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_process_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        peak_memory(interrupting)
    assert not multiprocessing.active_children()
    assert "Traceback" not in capfd.readouterr().err


def test_what_cannot_travel_is_an_error() -> None:
    with pytest.raises(UserError, match="top level of a module"):
        peak_memory(lambda: lambda: None)


@pytest.mark.parametrize(
    ("ours", "theirs", "reported", "ratio"),
    [
        (PeakMemory(90, 120 * MB, ""), PeakMemory(30, 80 * MB, ""), 120 * MB, 1.5),
        (PeakMemory(90, 120 * MB, ""), PeakMemory(30, 8 * MB, ""), 120 * MB, 3.0),
        (PeakMemory(90, 8 * MB, ""), PeakMemory(30, 80 * MB, ""), 90, 3.0),
        (PeakMemory(90, None, ""), PeakMemory(30, None, ""), 90, 3.0),
        (PeakMemory(90, 120 * MB, ""), PeakMemory(0, 8 * MB, ""), 120 * MB, None),
    ],
)
def test_like_is_compared_with_like(
    ours: PeakMemory, theirs: PeakMemory, reported: int, ratio: float | None
) -> None:
    assert ours.bytes == reported
    assert ours.ratio(theirs) == ratio


def test_tensors_are_counted_to_the_byte() -> None:
    kept: list[torch.Tensor] = []

    def step() -> None:
        kept.append(torch.ones(1000))  # stays: 4000 bytes more in every step
        temporary = torch.ones(5000)
        del temporary
        torch.ones(3000)

    assert child.tensor_growth(step, steps=2) == 2 * 4000 + 20000


def high_water_mark() -> None:
    block = bytearray(100 * MB)
    block[::4096] = b"x" * len(block[::4096])
    del block
    assert child._high_water() - child._resident() > 90 * MB
    assert child._reset_high_water()
    assert child._high_water() - child._resident() < 5 * MB


def without_proc() -> None:
    resident = child._resident() or 0
    child.STATUS = child.CLEAR_REFS = Path("/none/none")
    assert not child._reset_high_water()
    before = child._high_water()

    def step() -> None:
        block = bytearray(before - resident + 80 * MB)  # more than the process ever held
        block[::4096] = b"x" * len(block[::4096])

    grown = child.resident_growth(step, steps=1)
    assert grown > 50 * MB


def passes_alone(function: Callable[[], None]) -> bool:
    """Whether it ends without an error in a fresh process, whose memory no other test has used."""
    process = multiprocessing.get_context("spawn").Process(target=function)
    process.start()
    process.join()
    return process.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_high_water_mark_starts_again() -> None:
    assert passes_alone(high_water_mark)


def test_without_proc_the_process_peak_serves() -> None:
    """As on macOS: the peak of the whole process, which nothing resets."""
    pytest.importorskip("resource")
    assert passes_alone(without_proc)


def test_a_model_without_anything_to_free_is_counted_small() -> None:
    layer = nn.Linear(10, 10)
    assert child.tensor_growth(lambda: None, steps=1) == 0
    inputs = torch.ones(4, 10)
    assert child.tensor_growth(lambda: layer(inputs).sum().item(), steps=1) == 4 * 10 * 4 + 4
