"""The figures of runs, handed to a dashboard: TensorBoard, or your own in ten lines.

Every run writes `metrics.jsonl`, whoever trains it and where; a tracker reads these files, while
runs go on or afterwards, so that nothing in training knows of it.
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
"""Seconds between two looks at the files of runs that go on."""


class Tracker(ABC):
    """Takes the figures of runs."""

    name: ClassVar[str]

    def begin(self, folder: Path) -> None:  # noqa: B027  most have nothing to prepare
        """Begin with the runs of a folder."""

    @abstractmethod
    def log(self, run: str, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of one step of one run."""

    def close(self) -> None:  # noqa: B027
        """Write what is still held back."""


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
        """Say where the event files go."""
        self._folder = folder / "tensorboard"

    def log(self, run: str, step: int, figures: Mapping[str, float]) -> None:
        """Add a scalar for each figure; what an earlier call wrote of the run is replaced."""
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
"""Trackers by their short names."""


def track(folder: str | Path, tracker: Tracker, follow: bool = False) -> int:
    """Hand the figures of all runs in a folder to a tracker.

    Args:
        folder: What `train`, `compare` or another command leaves, or a folder of such.
        tracker: Who takes them.
        follow: Whether to go on looking for new figures, until the process is interrupted.

    Returns:
        How many steps were handed over.

    Raises:
        UserError: There is no run in the folder.
    """
    root, read = Path(folder), dict[Path, tuple[int, str]]()
    if not root.is_dir():
        raise UserError(f"there is no folder {folder}: name one that holds runs")
    if not follow and next(root.rglob(METRICS), None) is None:
        raise UserError(f"{folder} holds no {METRICS}: name a folder of runs, or follow=True")
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
    """Yield a run's name, a step and its figures for each whole line that is new."""
    for path in sorted(root.rglob(METRICS)):
        content = path.read_bytes()
        begun, seen = read.get(path, (0, ""))
        if sha256(content[:begun]).hexdigest() != seen:
            begun = 0  # the run has begun anew
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
    """Yield the numbers in a line, those of measures under `measure/figure`."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)
