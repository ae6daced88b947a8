"""What each block has learned: the accuracy of a linear classifier on its output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beyondprop.measure import Figures
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.lines import Curve, curve_of, label_ends
from beyondprop.report.figures.panel import panel, score_axis
from beyondprop.report.figures.tips import of_rule, tips
from beyondprop.report.labels import text_width
from beyondprop.report.records import FROZEN, LINEAR, Comparison, Run
from beyondprop.report.style import MUTED, Style
from beyondprop.report.svg import inline, plain
from beyondprop.report.text import (
    ScoreFormat,
    label,
    listing,
    plural,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "What each block has learned"
WIDTH, HEIGHT = 400, 280
INPUT = "input"
# Longer names of blocks are cut.
LENGTH = 10
# A probe measures accuracy, whatever the task's own metric.
ACCURACY = ScoreFormat("accuracy", percent=True, decimals=1)


def learned_by_block(
    comparison: Comparison, styles: Mapping[str, Style], prefix: str
) -> Exhibit | None:
    """Return the accuracy of a linear probe by block, a line for each rule; None if no probe was
    tried.
    """
    runs = {row.rule: comparison.finished(row.rule) for row in comparison.rows}
    probed = {rule: found for rule, each in runs.items() if (found := list(filter(_probed, each)))}
    failures = [f.failure for each in runs.values() for run in each if (f := _figures(run)).failure]
    names = list(
        dict.fromkeys(name for each in probed.values() for run in each for name in _probed(run))
    )
    curves = {rule: _curve(names, each) for rule, each in probed.items()}
    curves = {rule: curve for rule, curve in curves.items() if curve.epochs}
    if not curves:
        return Exhibit(TITLE, missing=_failed(failures)) if failures else None
    shown = {*curves, LINEAR}  # the linear model has no blocks
    untold = [label(rule) for rule, each in runs.items() if each and rule not in shown]
    caption = _caption(curves, max(map(len, probed.values())), untold, failures)
    return Exhibit(TITLE, caption, (_panel(names, curves, styles, f"{prefix}-probe"),))


def _figures(run: Run) -> Figures:
    return run.measures.get("probe", Figures())


def _probed(run: Run) -> Mapping[str, float | None]:
    return _figures(run).blocks.get("accuracy", {})


def _curve(names: Sequence[str], runs: Sequence[Run]) -> Curve:
    """Return the accuracy by block; the curve's epochs are indices of `names`."""
    return curve_of([{i: _probed(run).get(name) for i, name in enumerate(names)} for run in runs])


def _panel(
    names: Sequence[str], curves: Mapping[str, Curve], styles: Mapping[str, Style], name: str
) -> str:
    shown = {rule: plain(shorten(label(rule))) for rule in curves}
    right = 26 + max(map(text_width, shown.values()))
    figure, axes = panel(WIDTH, HEIGHT, right, "Accuracy of a linear probe (%)")
    inputs = [curve.mean[0] for curve in curves.values() if names[curve.epochs[0]] == INPUT]
    if inputs:
        height = math.fsum(inputs) / len(inputs)
        # Dotted, because frozen is dashed in the same colour.
        axes.axhline(height, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    for rule, curve in curves.items():
        with of_rule(axes, styles[rule]):
            _line(axes, curve, styles[rule])
    _block_axis(axes, names)
    score_axis(axes, ACCURACY)
    ends = {rule: curve.mean[-1] for rule, curve in curves.items()}
    colours = {rule: styles[rule].colour for rule in ends}
    label_ends(axes, ends, shown, colours, {rule: styles[rule].key for rule in ends})
    points = [
        tip
        for rule, curve in curves.items()
        for tip in tips(
            axes,
            [
                (place, value, f"{shown[rule]}, {names[place]}: {ACCURACY.full(value)}")
                for place, value in zip(curve.epochs, curve.mean, strict=True)
            ],
            styles[rule].key,
        )
    ]
    told = "; ".join(f"{shown[rule]} {_told(names, curve)}" for rule, curve in curves.items())
    return inline(figure, name, f"Accuracy of a linear probe by block: {told}", points)


def _line(axes: Axes, curve: Curve, style: Style) -> None:
    axes.fill_between(
        curve.epochs, curve.low, curve.high, color=style.colour, alpha=0.18, linewidth=0
    )
    axes.plot(
        curve.epochs,
        curve.mean,
        color=style.colour,
        linestyle=style.line,
        linewidth=style.width,
        marker=style.marker,
        markersize=5,
        clip_on=False,  # or a marker on the edge would be cut
    )


def _block_axis(axes: Axes, names: Sequence[str]) -> None:
    """Label the positions along the horizontal axis, as many as fit."""
    last = max(1, len(names) - 1)
    axes.set_xlim(0, last)
    axes.set_xlabel("block")
    shown = [plain(shorten(name, LENGTH)) for name in names]
    room = axes.get_position().width * axes.figure.bbox.width / last
    step = math.ceil((max(map(text_width, shown)) + 6) / room)
    # From the last one backwards: it is the output, and "input" is always at the left.
    named = {0, *(i for i in range(len(names) - 1, 0, -step) if i >= step or i == len(names) - 1)}
    axes.set_xticks(range(len(names)), [n if i in named else "" for i, n in enumerate(shown)])


def _told(names: Sequence[str], curve: Curve) -> str:
    places = zip(curve.epochs, curve.mean, strict=True)
    return ", ".join(f"{names[i]} {ACCURACY.full(value)}" for i, value in places)


def _caption(
    curves: Mapping[str, Curve], seeds: int, untold: Sequence[str], failures: Sequence[str]
) -> str:
    parts = [
        "A linear classifier is fitted to the output of each block of the trained network and"
        " scored on validation examples. The dotted line is the same classifier on the raw input;"
        " accuracy above it comes from the blocks."
    ]
    if FROZEN in curves:
        parts.append("Frozen shows the accuracy without learning in the hidden blocks.")
    if seeds > 1:
        parts.append(
            f"Lines are means over the finished runs (up to {plural(seeds, 'seed')}); the tinted"
            " range around a line spans the lowest to the highest seed."
        )
    if untold:
        parts.append(f"No probe is recorded for {listing(untold)}.")
    if failures:
        parts.append(_failed(failures))
    return " ".join(parts)


def _failed(failures: Sequence[str]) -> str:
    return f"{plural(len(failures), 'run')} could not be probed: {failures[0].rstrip('.')}."
