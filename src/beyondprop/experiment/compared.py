"""A finished comparison, for use in Python and in notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from beyondprop.errors import UserError, install
from beyondprop.experiment import forms
from beyondprop.experiment.table import cells, legend, table, title
from beyondprop.text import html_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

COMPARISON = "comparison.json"
"""File name of the record in a comparison's folder."""

WIDEST = 1000
"""Maximum number of characters in a line."""


class Comparison(Mapping[str, Any]):
    """A comparison's record: a mapping with the content of `comparison.json`. ``print`` shows it.

    Args:
        record: The record that `compare` wrote.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._record = record

    @classmethod
    def read(cls, folder: str | Path) -> Comparison:
        """Return the comparison in a folder.

        Raises:
            UserError: The folder contains no finished comparison, or a damaged one.
        """
        path = Path(folder) / COMPARISON
        record = forms.read_comparison(path)
        if record is None:
            raise UserError(
                f"{folder} contains no {COMPARISON}: name the folder of a finished comparison"
            )
        return cls(record)

    def __getitem__(self, key: str) -> Any:
        return self._record[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._record)

    def __len__(self) -> int:
        return len(self._record)

    def table(self) -> str:
        """Return the table that the command prints: one line for each rule, and the legend."""
        shown = StringIO()
        console = Console(file=shown, width=WIDEST, highlight=False, markup=False)
        console.print(table(self))
        return "\n".join(line.rstrip() for line in [*shown.getvalue().splitlines(), legend(self)])

    def to_pandas(self) -> DataFrame:
        """Return the figures of the rules, one row each; intervals are two columns.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise UserError("to_pandas needs pandas: pip install pandas") from error
        return pd.DataFrame([flat(row) for row in self["rows"]]).set_index("rule")

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw each rule's mean score and its 95% interval over seeds.

        Args:
            axes: Axes to draw on. Default: those of a new pyplot figure.

        Returns:
            The axes.

        Raises:
            UserError: matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise UserError(f"plot needs matplotlib: {install('report')}") from error
        rows = [row for row in self["rows"] if row["score_mean"] is not None]
        if axes is None:
            size = (6, 1.2 + 0.32 * len(rows))
            axes = plt.subplots(figsize=size, layout="constrained")[1]
        for place, row in enumerate(rows):
            mean = row["score_mean"]
            low, high = row.get("score_interval") or (mean, mean)
            axes.plot([low, high], [place, place], color="tab:blue", linewidth=2)
            axes.plot(mean, place, "o", color="tab:blue")
        axes.set_yticks(range(len(rows)), [row["rule"] for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel(f"test {self['task']['metric']}, 95% interval over seeds")
        axes.set_title(title(self), loc="left", fontsize="medium")
        return axes

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        rules = ", ".join(row["rule"] for row in self["rows"])
        return f"<Comparison on {self['task']['name']}: {rules}>"

    def _repr_html_(self) -> str:
        shown = cells(self)
        numeric = range(1, len(shown[0]))
        return html_table(title(self), shown, numeric, legend(self).splitlines())


PAIRS = ("_interval", "_quartiles")
"""Suffixes of the names of figures that are pairs, or None."""


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with pairs, such as intervals, as two entries: `KEY_low` and `KEY_high`."""
    found = {}
    for key, value in row.items():
        if key.endswith(PAIRS):
            found[f"{key}_low"], found[f"{key}_high"] = value or (None, None)
        else:
            found[key] = value
    return found
