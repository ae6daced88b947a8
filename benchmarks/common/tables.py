"""Tables of text: printed, and as Markdown for a record or a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as ConsoleTable

Cells = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The headings of a table and its rows."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: The title.
        columns: The headings; the first two columns are names, the others numbers.
        rows: One text per column.
        notes: The notes below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]

    def markdown(self) -> str:
        """Return the table for a Markdown file."""
        table = markdown(self.columns, self.rows, names=2)
        return f"# {self.title}\n\n{table}\n\n" + "\n\n".join(self.notes) + "\n"

    def show(self) -> None:
        """Print the table."""
        shown = ConsoleTable(title=self.title, box=SIMPLE_HEAD, pad_edge=False)
        for i, column in enumerate(self.columns):
            shown.add_column(column, justify="left" if i < 2 else "right", no_wrap=True)
        for row in self.rows:
            shown.add_row(*row)
        console = Console(markup=False)
        console.print(shown)
        for note in self.notes:
            console.print(note, markup=False, highlight=False)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a Markdown table: columns of names are aligned left, those of numbers right.

    Args:
        heads: The headings.
        rows: One text per column.
        names: The number of columns of names, from the first.
    """
    rule = [":--" if i < names else "--:" for i in range(len(heads))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def pivot(
    rows: Sequence[dict[str, Any]], figure: str, rules: Sequence[str], limit: str | None = None
) -> Cells:
    """Return a table with one row per network and one column per rule.

    Args:
        rows: The rows of a record, one per network and rule.
        figure: The field that the cells show.
        rules: The order of the columns; rules without a row are left out.
        limit: The field of the row of direct feedback alignment that the last column shows.
    """
    nets = list(dict.fromkeys(row["net"] for row in rows))
    found = {(row["net"], row["rule"]): row for row in rows}
    rules = [r for r in rules if r in {row["rule"] for row in rows}]
    lines = []
    for net in nets:
        cells = [number(found.get((net, r), {}).get(figure), ".2f") for r in rules]
        more = [number(found[net, "dfa"][limit], ".2f")] if limit else []
        lines.append([net, *cells, *more])
    return ("network", *rules, *(["DFA's FLOP limit"] if limit else [])), lines


def number(value: float | None, form: str) -> str:
    """Return a number as text, or a dash if there is none."""
    return "–" if value is None else format(value, form)


def percent(mean: float | None, deviation: float | None) -> str:
    """Return a share in percent with its deviation over seeds, or a dash if there is none."""
    spread = None if deviation is None else 100 * deviation
    return "–" if mean is None else f"{mean:.2%} ± {number(spread, '.2f')}"


def quartiles(row: Mapping[str, Any], form: str = ".3f") -> str:
    """Return the first and the third quartile of a row's ratio."""
    return "–".join(number(quartile, form) for quartile in row["ratio_quartiles"])
