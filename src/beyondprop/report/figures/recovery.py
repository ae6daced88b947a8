"""The recovery of each rule, as a share of backprop's gain, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beyondprop.experiment.table import GAINED
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits.rows import rows_panel
from beyondprop.report.figures.tips import of_rule, tips
from beyondprop.report.records import BACKPROP, Comparison, RuleRow
from beyondprop.report.style import MUTED, Style
from beyondprop.report.svg import Tip, inline
from beyondprop.report.text import label, minus, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Recovery"
ROW = 24
LEAST, MOST = -0.5, 1.5
"""Limits of the axis; a value beyond is drawn as an arrow at its edge."""


def recovery(comparison: Comparison, styles: Mapping[str, Style], prefix: str) -> Exhibit | None:
    """Return the recovery of every rule except the two controls that define it; None if there is
    none.
    """
    ends = (BACKPROP, comparison.below)
    rows = [row for row in comparison.rows if row.recovery is not None and row.rule not in ends]
    if not rows:
        return None
    panel = _panel(rows, styles, comparison.below, f"{prefix}-recovery")
    caption = (
        f"The share of backprop's gain over {GAINED[comparison.below]} that a rule recovers:"
        f" 0% is {comparison.below}, 100% is backprop."
    )
    if any(row.recovery_interval for row in rows):
        caption += " Lines are 95% intervals, paired by seed (Fieller)."
    return Exhibit(TITLE, caption, (panel,))


def _panel(rows: Sequence[RuleRow], styles: Mapping[str, Style], below: str, name: str) -> str:
    figure, axes, places = rows_panel([row.rule for row in rows], styles, "Recovery", ROW)
    low, high = _limits(rows)
    for at in (0, 1):
        axes.axvline(at, color=MUTED, linewidth=1)
    for row in rows:
        with of_rule(axes, styles[row.rule]):
            _draw(axes, row, places[row.rule], styles[row.rule], (low, high))
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(lambda at, _: minus(f"{100 * at:.0f}%"))
    points: list[Tip] = []
    for row in rows:
        value = min(max(row.recovery or 0.0, low), high)
        points += tips(axes, [(value, places[row.rule], _told(row, below))], styles[row.rule].key)
    told_all = "; ".join(_told(row, below) for row in rows)
    return inline(figure, name, f"Recovery of each rule: {told_all}", points)


def _draw(
    axes: Axes, row: RuleRow, place: float, style: Style, limits: tuple[float, float]
) -> None:
    """Draw a recovery and its interval, with an arrow if it is beyond the axis."""
    low, high = limits
    colour, value = style.colour, row.recovery or 0.0
    if row.recovery_interval:
        start, end = row.recovery_interval
        within = [min(max(each, low), high) for each in (start, end)]
        axes.plot(within, [place] * 2, color=colour, linewidth=1.6)
        for edge, marker in [(low, "<")] * (start < low) + [(high, ">")] * (end > high):
            axes.plot(edge, place, marker, color=colour, markersize=6, clip_on=False)
    if low <= value <= high:
        axes.plot(value, place, style.marker, color=colour, markersize=7)


def _limits(rows: Sequence[RuleRow]) -> tuple[float, float]:
    """Return the ends of the axis, which cover all intervals within the usual range."""
    ends = [end for row in rows for end in (row.recovery_interval or ())]
    ends += [row.recovery or 0.0 for row in rows]
    low, high = max(min([*ends, 0.0]), LEAST), min(max([*ends, 1.0]), MOST)
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _told(row: RuleRow, below: str) -> str:
    """Return a rule's recovery in words."""
    interval = row.recovery_interval
    between = "" if interval is None else f" ({percent(interval[0])} to {percent(interval[1])})"
    undecided = interval is not None and interval[0] <= 0 <= interval[1]
    doubt = f", not significantly different from {below}" if undecided else ""
    return f"{label(row.rule)} recovers {percent(row.recovery)}{between}{doubt}"
