"""The index of `results/`: each record with the command that reproduces it."""

import shlex
from pathlib import Path
from typing import Any

from benchmarks.common.records import RESULTS, command, load
from benchmarks.common.tables import Cells

DROPPED = ("--output", "--resume")
"""Options of a recorded command for its output, which do not affect the measurement."""

FORMER_TASKS = "variants:"
"""The former prefix of the tasks in `benchmarks.comparisons.tasks`, in recorded commands."""

PLOTS = {"slots/accuracy-mnist": "slots/staircase"}
"""The plots whose names differ from the record's."""


def records(topic: str | None = None) -> Cells:
    """Return one row per record: its topic, its files and its command.

    Args:
        topic: A folder of `results/`; links are then relative to it. Default: all.
    """
    found = sorted(RESULTS.glob(f"{topic or '*'}/*.json"), key=lambda p: (p.parent, p.stem))
    start = RESULTS / topic if topic else RESULTS
    rows = [row(path, start) for path in found]
    heads = ("topic", "record", "other files", "command")
    return (heads, rows) if topic is None else (heads[1:], [cells[1:] for cells in rows])


def row(path: Path, start: Path) -> list[str]:
    """Return a record's row, with links relative to a folder."""
    name = path.relative_to(RESULTS).with_suffix("").as_posix()
    beside = [path.with_suffix(".md"), (RESULTS / PLOTS.get(name, name)).with_suffix(".svg")]
    beside += [path.with_suffix(".yaml"), path.with_suffix(".html")]
    kinds = ("table", "plot", "settings", "report")
    links = [link(kind, file, start) for kind, file in zip(kinds, beside, strict=True)]
    topic = f"[{path.parent.name}]({path.parent.name}/README.md)"
    shown = ", ".join(text for text in links if text) or "–"
    return [topic, link(path.stem, path, start), shown, f"`{repeated(name, load(name))}`"]


def link(text: str, file: Path, start: Path) -> str:
    """Return a link to a file, empty if the file does not exist."""
    return f"[{text}]({file.relative_to(start).as_posix()})" if file.exists() else ""


def repeated(name: str, record: dict[str, Any]) -> str:
    """Return the command that reproduces a record, with current names.

    Args:
        name: The name of the record, "topic/name" or "topic/name-data".
        record: Its content, with the command as it was typed.
    """
    typed: str = record["provenance"]["command"]
    if record["kind"] == "benchmark":
        words = shlex.split(typed.removeprefix("python -m ").removeprefix("python "))
        return command(name.partition("-")[0], shlex.join(arguments(words)))
    words = arguments(shlex.split(typed.removeprefix("python -m ")))
    return shlex.join(map(today, words))


def today(word: str) -> str:
    """Return a word of a command, or a task's name, with the current name of its module."""
    return word.replace(FORMER_TASKS, "benchmarks.comparisons.tasks:")


def arguments(words: list[str]) -> list[str]:
    """Return a command's words without its output."""
    measured = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.partition("=")[0] not in DROPPED:
            measured.append(word)
        elif word == "--output":
            rest.pop(0)
    return measured
