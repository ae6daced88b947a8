"""The fresh process of `peak_memory`."""

import gc
import json
import pickle
import re
import signal
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from beyondprop.errors import FAULTS, one_line
from beyondprop.measure.base import Step

Answer = tuple[int, int | None, str]
"""The fields of `PeakMemory`."""

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def run(connection: Connection, work: bytes, steps: int, device: str, threads: int) -> None:
    """Send the answer, or the reason why there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    try:
        if device == "cpu":
            connection.send(on_cpu(work, steps))
        else:
            connection.send(on_accelerator(work, steps))
    except FAULTS as error:  # whatever it is, report it to the parent
        connection.send(one_line(error))
    finally:
        connection.close()


def on_cpu(work: bytes, steps: int) -> Answer:
    """Measure resident memory first, then count tensors."""
    resets = _reset_high_water()
    if resets:
        _build(work)()  # libraries initialise themselves in their first step
        gc.collect()
    resident = resident_growth(_build(work), steps)
    gc.collect()
    tensors = tensor_growth(_build(work), steps)
    if resident is None:
        return tensors, None, "tensors counted; this system does not say what is resident"
    if resets:
        return tensors, resident, "resident: high-water mark of /proc/self, reset before the steps"
    return tensors, resident, "resident: high-water mark of the process, with its first-step set-up"


def on_accelerator(work: bytes, steps: int) -> Answer:
    """Count the tensors on the current accelerator."""
    _build(work)()  # libraries initialise themselves in their first step
    gc.collect()
    step = _build(work)
    torch.accelerator.synchronize()
    torch.accelerator.reset_peak_memory_stats()
    before = torch.accelerator.memory_allocated()
    for _ in range(steps):
        step()
    torch.accelerator.synchronize()
    return torch.accelerator.max_memory_allocated() - before, None, "the accelerator's allocator"


def resident_growth(step: Step, steps: int) -> int | None:
    """Return by how much the peak of resident memory exceeds what was resident before the steps."""
    gc.collect()
    before = _resident() if _reset_high_water() else _high_water()
    for _ in range(steps):
        step()
    after = _high_water()
    return None if before is None or after is None else max(0, after - before)


def tensor_growth(step: Step, steps: int) -> int:
    """Return the peak memory of tensors that the steps allocated, on the CPU."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        for _ in range(steps):
            step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events: list[dict[str, Any]] = json.loads(path.read_bytes())["traceEvents"]
    changes = [e for e in events if e["name"] == "[memory]" and e["args"]["Device Type"] == 0]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def _build(work: bytes) -> Step:
    """Build a step whose rule has not drawn its matrices yet, so that they count."""
    build = pickle.loads(work)  # our own parent process made it
    step: Step = build()
    return step


def _reset_high_water() -> bool:
    """Reset the high-water mark of resident memory; False if that is not possible."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _resident() -> int | None:
    return _status("VmRSS")


def _high_water() -> int | None:
    """Return the high-water mark of resident memory.

    `getrusage` is the fallback, because on Linux its figure starts at that of the parent process.
    """
    found = _status("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
