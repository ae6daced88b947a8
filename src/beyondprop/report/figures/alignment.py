"""Alignment by block over time: the cosine between a rule's update and the true gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from beyondprop.measure import Figures
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.lines import Curve, curve_of, label_ends
from beyondprop.report.figures.panel import epoch_axis, panel
from beyondprop.report.figures.tips import thinned, tips
from beyondprop.report.labels import text_width
from beyondprop.report.records import (
    BACKPROP,
    CONTROLS,
    FROZEN,
    LINEAR,
    Comparison,
    Point,
)
from beyondprop.report.style import MUTED, Style
from beyondprop.report.svg import inline, plain
from beyondprop.report.text import (
    label,
    listing,
    minus,
    plural,
    shorten,
)

TITLE = "Alignment with the true gradient"
WIDTH, HEIGHT = 300, 220
# With more blocks than this, only some lines are named.
NAMED = 7
# Longer names of blocks are cut.
LENGTH = 14
# Most points of a line with tooltips.
MOST = 12


def alignment_over_time(
    comparison: Comparison, styles: Mapping[str, Style], prefix: str
) -> Exhibit:
    """Return the cosine between update and true gradient by epoch: a panel per rule, a line per
    block.
    """
    blocks = {row.rule: _blocks(comparison, row.rule) for row in comparison.rows}
    void = {row.rule: _void(comparison, row.rule) for row in comparison.rows}
    # A rule whose hidden blocks do not learn (frozen) has at most its last block: no panel.
    drawn = {rule: curves for rule, curves in blocks.items() if len(curves) > 1}
    if len(drawn) > 1:
        drawn.pop(BACKPROP, None)
    if not drawn:
        return Exhibit(
            TITLE, missing="No run recorded the alignment of more than one block with the gradient."
        )
    low = min(value for each in drawn.values() for c in each.values() for value in c.mean)
    panels = [
        _panel(rule, curves, void[rule], styles[rule], min(low, 0.0), f"{prefix}-alignment-{i}")
        for i, (rule, curves) in enumerate(drawn.items())
    ]
    shown = any(void[rule] for rule in drawn)
    keys = tuple(styles[rule].key for rule in drawn)
    caption = _caption(comparison, drawn, shown)
    return Exhibit(TITLE, caption, tuple(panels), small=True, keys=keys)


def _blocks(comparison: Comparison, rule: str) -> dict[str, Curve]:
    runs = comparison.finished(rule)
    names = dict.fromkeys(name for run in runs for point in run.curve for name in _cosines(point))
    curves = {
        name: curve_of([{p.epoch: _cosines(p).get(name) for p in run.curve} for run in runs])
        for name in names
    }
    return {name: curve for name, curve in curves.items() if curve.epochs}


def _cosines(point: Point) -> Mapping[str, float | None]:
    return point.measures.get("alignment", Figures()).blocks.get("cosine", {})


def _void(comparison: Comparison, rule: str) -> list[int]:
    """Return the epochs at which the alignment of a block is void in a run."""
    found = {
        point.epoch
        for run in comparison.finished(rule)
        for point in run.curve
        for note in point.measures.get("alignment", Figures()).notes.values()
        if note.startswith("void")
    }
    return sorted(found)


def _broken(curve: Curve) -> tuple[list[int], list[float]]:
    """Return the points of a line with gaps at the epochs without a value."""
    epochs = list(range(curve.epochs[0], curve.epochs[-1] + 1))
    known = dict(zip(curve.epochs, curve.mean, strict=True))
    return epochs, [known.get(epoch, math.nan) for epoch in epochs]


def _panel(
    rule: str,
    blocks: Mapping[str, Curve],
    void: Sequence[int],
    style: Style,
    low: float,
    name: str,
) -> str:
    named = _named(list(blocks))
    labels = {block: plain(shorten(block, LENGTH)) for block in named}
    right = 26 + max(map(text_width, labels.values()))
    figure, axes = panel(WIDTH, HEIGHT, right, label(rule))
    axes.axhline(0, color=MUTED, linewidth=1)
    for i, curve in enumerate(blocks.values()):
        axes.plot(
            *_broken(curve),
            color=style.colour,
            # Deeper blocks have stronger colours.
            alpha=0.35 + 0.65 * i / (len(blocks) - 1),
            linewidth=1.8 if len(blocks) <= NAMED else 0.9,
            marker="o" if len(curve.epochs) == 1 else "",
        )
    foot = low - 0.05 * (1 - low)
    axes.plot(void, [foot] * len(void), "x", color=MUTED, markersize=5, clip_on=False)
    axes.set_ylim(foot, 1.05)
    last = max(curve.epochs[-1] for curve in blocks.values())
    epoch_axis(axes, min(curve.epochs[0] for curve in blocks.values()), last)
    axes.set_yticks([tick for tick in (-1, -0.5, 0, 0.5, 1) if tick >= low - 0.05])
    axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value:g}"))
    ends = {block: blocks[block].mean[-1] for block in named}
    label_ends(axes, ends, labels, dict.fromkeys(named, MUTED))
    points = tips(
        axes,
        [
            (epoch, value, f"{label(rule)}, block {block}, epoch {epoch}: {minus(f'{value:.2f}')}")
            for block in named
            for epoch, value in thinned(_points(blocks[block]), MOST)
        ],
        style.key,
    )
    told = ", ".join(
        f"block {block} {minus(f'{curve.mean[-1]:.2f}')}" for block, curve in blocks.items()
    )
    if void:
        told += f"; void in some block at {plural(len(void), 'epoch')}"
    return inline(figure, name, f"Alignment under {label(rule)} at the last epoch: {told}", points)


def _points(curve: Curve) -> list[tuple[int, float]]:
    return list(zip(curve.epochs, curve.mean, strict=True))


def _named(blocks: list[str]) -> list[str]:
    """Return the blocks whose lines are named: all, or some, including the first and the last."""
    if len(blocks) <= NAMED:
        return blocks
    return [blocks[round(i * (len(blocks) - 1) / (NAMED - 1))] for i in range(NAMED)]


def _caption(comparison: Comparison, drawn: Mapping[str, object], void: bool) -> str:
    parts = [
        "Each line is a block, named at its end: the fainter the line, the nearer the block is to"
        " the input. 1 means that the rule changes the block exactly along the true gradient,"
        " 0 that the two are orthogonal, −1 that it goes in the opposite direction."
        " Most rules give the last block its true gradient.",
    ]
    if void:
        parts.append(
            "A cross at the bottom marks an epoch at which the alignment of some block is void: its"
            " true gradient is too short for its direction to have a meaning."
        )
    left_out = [row.rule for row in comparison.rows if row.rule not in drawn]
    if BACKPROP in left_out and comparison.finished(BACKPROP):
        parts.append("Backprop follows the true gradient and is not drawn.")
    if FROZEN in left_out:
        parts.append("Frozen does not train hidden blocks, so it has no figure.")
    if LINEAR in left_out:
        parts.append("The linear model has no hidden blocks, so it has no figure.")
    others = [label(rule) for rule in left_out if rule not in CONTROLS]
    if others:
        parts.append(
            f"There is no figure for {listing(others)}, because the alignment of hidden blocks was"
            " not recorded."
        )
    return " ".join(parts)
