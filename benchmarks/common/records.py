"""The records of benchmarks: JSON files in `results/`, each with its table as Markdown."""

import json
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.common.tables import Table
from beyondprop.experiment.provenance import provenance
from beyondprop.files import write_bytes, write_json

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


def save(
    name: str,
    spec: dict[str, Any],
    rows: list[dict[str, Any]],
    table: Table,
    started: datetime,
    output: Path,
) -> None:
    """Write a record to ``output`` and its table next to it as Markdown, and print the table.

    Args:
        name: The benchmark's name, "topic/name"; it runs as ``python -m benchmarks.topic.name``.
        spec: The settings.
        rows: All figures.
        table: The table.
        started: The start time of the work.
        output: A JSON file.
    """
    made = provenance(started)
    made["command"] = command(name, made["command"])
    record = {"schema": 1, "kind": "benchmark", "name": name, "spec": spec, "rows": rows}
    write_json(output, record | {"provenance": made})
    where = f"{made['hardware']['cpu']}, {made['hardware']['threads']} threads"
    source = (
        f"Made by `{made['command']}` with PyTorch {made['versions']['torch']} on {where}, "
        f"{made['finished']}; every figure is in `{output.name}`."
    )
    write_bytes(output.with_suffix(".md"), f"{table.markdown()}\n{source}\n".encode())
    table.show()


def command(name: str, typed: str) -> str:
    """Return the command of a benchmark, with the arguments that were typed.

    Args:
        name: The name of the benchmark, "topic/name".
        typed: The command line, whose first word is the program.
    """
    arguments = shlex.split(typed)[1:]
    return shlex.join(["python", "-m", f"benchmarks.{name.replace('/', '.')}", *arguments])


def load(name: str) -> dict[str, Any]:
    """Return the record "topic/name" of `results/`."""
    record: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return record
