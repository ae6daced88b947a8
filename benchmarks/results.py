"""Where a benchmark's figures go: a JSON record, and the same as a table, beside it and printed."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonargparse
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from beyondprop.cli.parser import as_list, with_lists
from beyondprop.errors import UserError
from beyondprop.experiment.provenance import provenance
from beyondprop.files import (
    write_bytes,
    write_json,
)


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        title: What it shows.
        columns: Headings; the first two columns are names, the others numbers.
        rows: One text a column.
        notes: What a reader must know to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]

    def markdown(self) -> str:
        """Return the table for a Markdown file."""
        rule = [":--" if i < 2 else "--:" for i in range(len(self.columns))]
        lines = [" | ".join(cells) for cells in (self.columns, rule, *self.rows)]
        table = "\n".join(f"| {line} |" for line in lines)
        return f"# {self.title}\n\n{table}\n\n" + "\n\n".join(self.notes) + "\n"

    def show(self) -> None:
        """Print the table."""
        shown = Table(title=self.title, box=SIMPLE_HEAD, pad_edge=False)
        for i, column in enumerate(self.columns):
            shown.add_column(column, justify="left" if i < 2 else "right", no_wrap=True)
        for row in self.rows:
            shown.add_row(*row)
        console = Console()
        console.print(shown)
        for note in self.notes:
            console.print(note, markup=False, highlight=False)


def save(
    name: str,
    spec: dict[str, Any],
    rows: list[dict[str, Any]],
    sheet: Sheet,
    started: datetime,
    output: Path,
) -> None:
    """Write a record to ``output`` and its table beside it as Markdown, and print the table.

    Args:
        name: The benchmark's.
        spec: Its settings.
        rows: All figures.
        sheet: The figures to read.
        started: When the work began.
        output: A JSON file.
    """
    made = provenance(started)
    made["command"] = f"python benchmarks/{made['command']}"
    record = {"schema": 1, "kind": "benchmark", "name": name, "spec": spec, "rows": rows}
    write_json(output, record | {"provenance": made})
    where = f"{made['hardware']['cpu']}, {made['hardware']['threads']} threads"
    source = (
        f"Made by `{made['command']}` with PyTorch {made['versions']['torch']} on {where}, "
        f"{made['finished']}; every figure is in `{output.name}`."
    )
    write_bytes(output.with_suffix(".md"), f"{sheet.markdown()}\n{source}\n".encode())
    sheet.show()


def command_line(main: Callable[..., None]) -> None:
    """Run ``main`` with the flags that its signature says."""
    try:
        jsonargparse.auto_cli(main, args=arguments(sys.argv[1:]))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def arguments(argv: Sequence[str]) -> list[str]:
    """Let ``--cases a b`` be typed as the lists of the command line are."""
    words, rest = [], list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        values = [value] if equals else []
        if name == "--cases":
            while not equals and rest and not rest[0].startswith("--"):
                values.append(rest.pop(0))
            value, equals = (as_list(values, quoted=True), "=") if values else ("", "")
        words.append(name + equals + value)
    return with_lists(words)


def number(value: float | None, form: str) -> str:
    """Return a number as text, or a dash where there is none."""
    return "–" if value is None else format(value, form)
