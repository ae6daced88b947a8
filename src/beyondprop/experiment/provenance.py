"""Provenance of a record: the command, the versions, the machine, the time."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path("/")


def provenance(started: datetime, earlier: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return everything that is needed to repeat a measurement, as JSON.

    Args:
        started: Start of the work (timezone-aware); the end is now.
        earlier: The interrupted sessions that this one continues; see `session`.

    Returns:
        `command`, `started`, `finished` (ISO 8601, UTC), `commit` (of BeyondProp; null if it does
        not run from a git checkout; ends in "-dirty" if files were changed since), `versions`,
        `hardware` and `sessions`, the earlier ones.
    """
    return {
        **session(started),
        "finished": _written(datetime.now(UTC)),
        "versions": versions(),
        "hardware": hardware(),
        "sessions": list(earlier),
    }


def session(started: datetime) -> dict[str, Any]:
    """Return the facts known at the start of a session: `command`, `started` and `commit`."""
    return {"command": command(sys.argv), "started": _written(started), "commit": COMMIT}


def command(argv: list[str]) -> str:
    """Return the command line as typed in a shell, without the folders of this machine."""
    program = Path(argv[0])
    if program.name == "__main__.py":
        words = ["python", "-m", program.parent.name, *argv[1:]]
    else:
        words = [program.name or "python", *argv[1:]]
    home = Path.home()
    line = shlex.join(_private(word, home) for word in words)
    return line.replace(str(home), "~") if home != ROOT else line


def versions() -> dict[str, str]:
    """Return the versions that can change a figure."""
    return {
        "beyondprop": _installed("beyondprop"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "numpy": _installed("numpy"),
    }


def hardware() -> dict[str, Any]:
    """Return the machine: `cpu`, `cores`, `threads`, `memory_gib`, `accelerator`, `platform`."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory_gib(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.platform(),
    }


def commit(folder: Path) -> str | None:
    """Return the git commit of a folder's sources, or None if git does not track them."""
    try:
        # An installed copy may be inside another project's repository, whose commit is not ours.
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _private(word: str, home: Path) -> str:
    """Return a word in which an absolute path outside the home folder is reduced to its name."""
    flag, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    path = Path(value)
    if not path.is_absolute() or (home != ROOT and path.is_relative_to(home)):
        return word
    return f"{flag}{equals}.../{path.name}"


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


COMMIT = commit(Path(__file__).parent)
"""Commit of the running code, read when it is loaded, because the files may change later."""


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(total / 2**30, 1)
