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
        for line in content[begun:ended].splitlines():
            run = root.resolve().name if name == "." else name
            try:
                found = json.loads(line)
                step = int(found.pop("step"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise UserError(
                    f"{path} contains a line that is not a step's metrics "
                    f"({type(error).__name__}): repeat the run, or leave it out"
                ) from None
            yield run, step, dict(_numbers(found))


def _numbers(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in a line with their names; those of measures are `measure/figure`."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)
