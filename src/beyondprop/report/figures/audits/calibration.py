"""Figures of calibration: accuracy by confidence, with the counts below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from beyondprop.report.audited.calibration import Bin, Calibration
from beyondprop.report.audited.records import Audit
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits.rows import LOW, SMALL, name_of
from beyondprop.report.figures.panel import MARGIN_BOTTOM, panel
from beyondprop.report.figures.tips import tips
from beyondprop.report.style import MUTED, Style
from beyondprop.report.svg import inline
from beyondprop.report.text import count, plural

HEIGHT, BARS = LOW + 90, 66
"""Heights of a panel, and of its bars of counts."""
TICKS = [0, 0.25, 0.5, 0.75, 1]
WIDEST = 0.04
AREA, DOT = 60, 6
"""Area of the point with the largest count, and the smallest area of a point."""


def pictures(audit: Audit, styles: Mapping[str, Style], prefix: str) -> list[Exhibit]:
    """Return the figures of calibration."""
    found = audit.answers(Calibration)
    if not found:
        return []
    most = max(each.count for own in found.values() for one in own for each in one.bins)
    panels = tuple(
        _panel(rule, own, most, styles[rule], f"{prefix}-reliable-{i}")
        for i, (rule, own) in enumerate(found.items())
    )
    seeds = " (each line is a seed)" * any(len(own) > 1 for own in found.values())
    caption = (
        "Accuracy against confidence, over test samples of similar confidence; larger points have"
        f" more samples, which the bars below count{seeds}; below the grey diagonal, answers are"
        " overconfident."
    )
    keys = tuple(styles[rule].key for rule in found)
    return [Exhibit("Reliability", caption, panels, small=True, keys=keys)]


def _panel(rule: str, own: Sequence[Calibration], most: int, style: Style, name: str) -> str:
    figure, axes = panel(SMALL, HEIGHT, 14, name_of(rule, 34))
    box = axes.get_position()
    cut = (MARGIN_BOTTOM + BARS) / HEIGHT
    axes.set_position((box.x0, cut, box.width, box.y1 - cut))
    below = figure.add_axes((box.x0, MARGIN_BOTTOM / HEIGHT, box.width, (BARS - 14) / HEIGHT))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
    for each in own:
        at = [one.confidence for one in each.bins]
        right = [one.accuracy for one in each.bins]
        areas = [AREA * one.count / (most or 1) + DOT for one in each.bins]
        axes.plot(at, right, color=style.colour, linewidth=1, alpha=0.6)
        axes.scatter(at, right, areas, color=style.colour, alpha=0.75, linewidth=0, clip_on=False)
        below.bar(
            at,
            [one.count for one in each.bins],
            WIDEST,
            color=style.colour,
            alpha=0.45,
            linewidth=0,
        )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(0, 1)
    axes.set_xticks(TICKS, [])
    axes.set_yticks(TICKS, [f"{100 * tick:g}" for tick in TICKS])
    below.set_xlim(-0.02, 1.02)
    below.set_ylim(0, most or 1)
    below.grid(visible=False)
    below.set_xticks(TICKS, [f"{100 * tick:g}" for tick in TICKS])
    below.set_yticks([0, most or 1], ["0", count(most)])
    below.tick_params(axis="y", labelsize=9)
    below.set_xlabel("confidence, %")
    points = [
        (one.confidence, one.accuracy, f"{name_of(rule)}, {_of_bin(one)}")
        for each in own
        for one in each.bins
    ]
    told = f"Reliability of {name_of(rule)}: {_told(own)}"
    return inline(figure, name, told, tips(axes, points, style.key))


def _of_bin(found: Bin) -> str:
    """Return the tooltip of the predictions of one bin."""
    right, confidence = f"{100 * found.accuracy:.0f}%", f"{100 * found.confidence:.0f}%"
    return f"confidence {confidence}: {right} right of {plural(found.count, 'test sample')}"


def _told(own: Sequence[Calibration]) -> str:
    error = fmean(each.error for each in own)
    return f"{sum(each.samples for each in own)} forecasts, calibration error {100 * error:.2f}%"
