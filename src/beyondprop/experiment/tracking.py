"""Trackers send the figures of runs to a dashboard: TensorBoard, or your own in ten lines.

Every run writes `metrics.jsonl` on all kinds of workers. A tracker reads these files during or
after the runs, so training does not depend on it.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from beyondprop.errors import UserError, install
from beyondprop.experiment.metrics import METRICS
from beyondprop.registry import Registry

EVERY = 2.0
"""Seconds between two checks of the files of running runs."""
LAST = 2**63 - 1
"""The largest step: trackers store 64 bits."""


class Tracker(ABC):
    """Receives the figures of runs."""

    name: ClassVar[str]

    def begin(self, folder: Path) -> None:  # noqa: B027  most have nothing to prepare
        """Prepare for the runs of a folder."""

    @abstractmethod
    def log(self, run: str, step: int, figures: Mapping[str, float]) -> None:
        """Receive the figures of one step of one run."""

    def close(self) -> None:  # noqa: B027
        """Write buffered figures."""


class TensorBoard(Tracker):
    """Event files of TensorBoard, in the folder's `tensorboard`; needs the extra `track`."""

    name: ClassVar[str] = "tensorboard"

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(f"this needs tensorboard: {install('track')}") from error
        self._make: Any = SummaryWriter
        self._writers: dict[str, Any] = {}
        self._folder = Path()

    def begin(self, folder: Path) -> None:
        """Set the folder of the event files."""
        self._folder = folder / "tensorboard"

    def log(self, run: str, step: int, figures: Mapping[str, float]) -> None:
        """Add a scalar for each figure; the run's figures from an earlier call are replaced."""
        if run not in self._writers:
            self._writers[run] = self._make(self._folder / run, purge_step=0)
        for name, value in figures.items():
            self._writers[run].add_scalar(name, value, step)

    def close(self) -> None:
        """Close the event files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


TRACKERS: Registry[Tracker] = Registry("tracker", Tracker, {TensorBoard.name: TensorBoard})
"""Trackers by short name."""


def track(folder: str | Path, tracker: Tracker, follow: bool = False) -> int:
    """Send the figures of all runs in a folder to a tracker.

    Args:
        folder: Folder that `train`, `compare` or another command wrote, or a parent of such
            folders.
        tracker: Tracker that receives the figures.
        follow: Whether to watch for new figures until the process is interrupted.

    Returns:
        The number of steps sent.

    Raises:
        UserError: The folder has no runs, or a file has an invalid line.
    """
    root, read = Path(folder), dict[Path, tuple[int, str]]()
    if not root.is_dir():
        raise UserError(f"there is no folder {folder}: name a folder that contains runs")
    if not follow and next(root.rglob(METRICS), None) is None:
        raise UserError(
            f"{folder} contains no {METRICS}: name a folder that contains runs, or use follow=True"
        )
    tracker.begin(root)
    count = 0
    try:
        while True:
            for run, step, figures in _new(root, read):
                tracker.log(run, step, figures)
                count += 1
            if not follow:
                return count
            time.sleep(EVERY)
    finally:
        tracker.close()


def _new(
    root: Path, read: dict[Path, tuple[int, str]]
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield a run's name, a step and its figures for each new complete line."""
    for path in sorted(root.rglob(METRICS)):
        content = path.read_bytes()
        begun, seen = read.get(path, (0, ""))
        if sha256(content[:begun]).hexdigest() != seen:
            begun = 0  # the run has started from scratch
        ended = content.rfind(b"\n") + 1
        read[path] = ended, sha256(content[:ended]).hexdigest()
        name = path.parent.relative_to(root).as_posix()
        run = root.resolve().name if name == "." else name
        before = content.count(b"\n", 0, begun)
        for number, line in enumerate(content[begun:ended].split(b"\n")[:-1], before + 1):
            try:
                step, figures = _of_line(line)
            except (ValueError, OverflowError, RecursionError):
                raise UserError(
                    f"{path} contains a line that is not a step's metrics, line {number}: each is "
                    'like {"step": 20, "loss": 0.5}, with a whole step from 0 to 2**63 - 1; '
                    "correct or delete that line, or leave the run out"
                ) from None
            yield run, step, figures


def _of_line(line: bytes) -> tuple[int, dict[str, float]]:
    """Return the step and the figures in a line.

    Raises:
        ValueError: The line is not JSON, or has no step from 0 to `LAST`.
        OverflowError: A number is too large for a float.
        RecursionError: The figures are nested too deeply.
    """
    found = json.loads(line)
    step = found.pop("step", None) if isinstance(found, dict) else None
    if type(step) is not int or not 0 <= step <= LAST:  # a bool is an int, too
        raise ValueError("no step")
    return step, dict(_numbers(found))


def _numbers(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in a line with their names; those of measures are `measure/figure`."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)
