"""Score against cost: the test score by step time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beyondprop.measure import Column
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.panel import panel, score_axis
from beyondprop.report.figures.points import name_points
from beyondprop.report.figures.tips import of_rule, tips
from beyondprop.report.records import (
    BACKPROP,
    Comparison,
    RuleRow,
)
from beyondprop.report.style import MUTED, Style
from beyondprop.report.svg import inline
from beyondprop.report.text import ScoreFormat, capital, label, listing, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 400, 260


def score_against_cost(
    comparison: Comparison, styles: Mapping[str, Style], prefix: str
) -> Exhibit | None:
    """Return the test score against every measured cost, relative to backprop; None if no cost was
    asked for.
    """
    scores = ScoreFormat.of(comparison.task)
    title = f"{capital(scores.metric)} against cost"
    costs = [column for column in comparison.columns if column.cost]
    if not costs:
        return None
    panels, missing = [], []
    for i, cost in enumerate(costs):
        rows = [
            row
            for row in comparison.rows
            if row.number(cost.key) is not None and row.score_mean is not None
        ]
        if rows:
            panels.append(_panel(comparison, rows, cost, styles, scores, f"{prefix}-cost-{i}"))
        else:
            missing.append(cost.label)
    if not panels:
        return Exhibit(title, missing="No rule has both a test score and a measured cost.")
    caption = "Up is better, left is cheaper. The vertical line is plain PyTorch backprop (1×)."
    if any(row.spread is not None for row in comparison.rows):
        caption += " Error bars show the ± of the table."
    if _controls(comparison):
        caption += " The grey band lies between the two controls."
    if missing:
        verb = "were" if len(missing) > 1 else "was"
        caption += f" {capital(listing(missing))} {verb} not measured."
    return Exhibit(title, caption, tuple(panels))


def _controls(comparison: Comparison) -> tuple[float, float] | None:
    rows = [comparison.row(rule) for rule in (comparison.below, BACKPROP)]
    means = [row.score_mean for row in rows if row and row.score_mean is not None]
    return (means[0], means[1]) if len(means) == 2 else None


def _panel(
    comparison: Comparison,
    rows: Sequence[RuleRow],
    cost: Column,
    styles: Mapping[str, Style],
    scores: ScoreFormat,
    name: str,
) -> str:
    title = f"Test {scores.metric}{', ' * bool(scores.unit)}{scores.unit}"
    figure, axes = panel(WIDTH, HEIGHT, title=title)
    points = [(row.number(cost.key) or 0.0, float(row.score_mean or 0)) for row in rows]
    if controls := _controls(comparison):
        axes.axhspan(*controls, color=MUTED, alpha=0.1, linewidth=0)
    axes.axvline(1, color=MUTED, linewidth=1)
    for row, point in zip(rows, points, strict=True):
        style = styles[row.rule]
        with of_rule(axes, style):
            axes.errorbar(*point, yerr=row.spread, color=style.colour, marker=style.marker, ms=7)
    _limits(axes, [x for x, _ in points])
    axes.set_xlabel(f"{cost.label} relative to plain PyTorch backprop")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}×")
    score_axis(axes, scores)
    name_points(axes, points, rows, styles)
    told = [
        f"{label(row.rule)} {scores.full(row.score_mean)} at {ratio(row.number(cost.key))}"
        for row in rows
    ]
    points_told = [
        tip
        for row, point in zip(rows, points, strict=True)
        for tip in tips(axes, [(*point, _tip(row, cost, scores))], styles[row.rule].key)
    ]
    return inline(figure, name, f"{title} against {cost.label}: {', '.join(told)}", points_told)


def _tip(row: RuleRow, cost: Column, scores: ScoreFormat) -> str:
    """Return the tooltip of a rule's point."""
    spread = "" if row.spread is None else f" ± {scores.bare(row.spread)}"
    reached = f"{label(row.rule)}: {scores.full(row.score_mean)}{spread}"
    return f"{reached} at {ratio(row.number(cost.key))} the {cost.label} of backprop"


def _limits(axes: Axes, costs: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = min([*costs, 1]), max([*costs, 1])
    margin = max(0.12 * (high - low), 0.03)
    axes.set_xlim(low - margin, high + margin)
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
