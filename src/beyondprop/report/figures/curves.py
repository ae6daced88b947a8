"""Learning curves: the validation score after each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.lines import Curve, curve_of, label_ends
from beyondprop.report.figures.panel import epoch_axis, panel, score_axis
from beyondprop.report.figures.tips import of_rule, thinned, tips
from beyondprop.report.figures.window import Window, windows
from beyondprop.report.labels import text_width
from beyondprop.report.records import (
    BACKPROP,
    FROZEN,
    Comparison,
    Run,
)
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

TITLE = "Learning curves"
WIDTH, HEIGHT = 400, 280


def learning_curves(comparison: Comparison, styles: Mapping[str, Style], prefix: str) -> Exhibit:
    """Return the validation score by epoch, with the two controls as a band."""
    scores = ScoreFormat.of(comparison.task)
    curves = {
        row.rule: curve_of([_scores(run) for run in comparison.finished(row.rule)])
        for row in comparison.rows
    }
    curves = {rule: curve for rule, curve in curves.items() if curve.epochs}
    stopped = [run for run in comparison.runs if not run.finished and len(_known(run)) > 1]
    if not curves and not stopped:
        return Exhibit(TITLE, missing="No run recorded a validation score.")
    last = max([c.epochs[-1] for c in curves.values()] + [_known(r)[-1][0] for r in stopped])
    flat = [row.rule for row in comparison.rows if _solved(comparison, row.rule)]
    curves |= {rule: _flat(curves[rule], last) for rule in flat if rule in curves}
    shown = windows(curves, last)
    panels = [
        _panel(curves, stopped, styles, scores, window, f"{prefix}-curves-{i}")
        for i, window in enumerate(shown)
    ]
    runs = max(len(comparison.finished(rule)) for rule in styles)
    hidden = shown[-1].below(curves)
    return Exhibit(TITLE, _caption(curves, stopped, scores, runs, hidden, flat), tuple(panels))


def _solved(comparison: Comparison, rule: str) -> bool:
    """Whether all finished runs of a rule were solved, so that their epochs mean nothing."""
    runs = comparison.finished(rule)
    return bool(runs) and all(run.solved for run in runs)


def _flat(curve: Curve, last: int) -> Curve:
    """Return a curve with the final value at every epoch."""
    epochs = list(range(last + 1))
    means, lows, highs = ([each[-1]] * len(epochs) for each in (curve.mean, curve.low, curve.high))
    return Curve(epochs, means, lows, highs)


def _scores(run: Run) -> dict[int, float | None]:
    return {point.epoch: point.score for point in run.curve}


def _known(run: Run) -> list[tuple[int, float]]:
    return [(point.epoch, point.score) for point in run.curve if point.score is not None]


def _panel(
    curves: Mapping[str, Curve],
    stopped: Sequence[Run],
    styles: Mapping[str, Style],
    scores: ScoreFormat,
    window: Window,
    name: str,
) -> str:
    ends = {rule: curve.mean[-1] for rule, curve in curves.items()}
    title = f"Epochs {window.first} to {window.last}, enlarged"
    if window.low is None:
        ends = _stops(stopped) | ends
        title = f"All epochs ({scores.metric}{', ' * bool(scores.unit)}{scores.unit})"
    names = {rule: plain(shorten(label(rule))) for rule in ends}
    right = 26 + max(map(text_width, names.values()), default=0)
    figure, axes = panel(WIDTH, HEIGHT, right, title)
    if BACKPROP in curves and FROZEN in curves:
        _band(axes, curves[FROZEN], curves[BACKPROP])
    for rule, curve in curves.items():
        with of_rule(axes, styles[rule]):
            _line(axes, curve, styles[rule])
    for run in stopped:
        with of_rule(axes, styles[run.rule]):
            _stopped(axes, run, styles[run.rule])
    for line in axes.get_lines():
        line.set_clip_on(window.low is not None)  # or a marker on the edge would be cut
    epoch_axis(axes, window.first, window.last)
    axes.set_ylim(window.low, window.high)
    score_axis(axes, scores)
    shown = {rule: end for rule, end in ends.items() if rule not in window.below(curves)}
    colours = {rule: styles[rule].colour for rule in shown}
    label_ends(axes, shown, names, colours, {rule: styles[rule].key for rule in shown})
    points = [
        tip
        for rule, curve in curves.items()
        for tip in tips(axes, _points(rule, curve, scores), styles[rule].key)
    ]
    told = ", ".join(f"{names[rule]} {scores.full(end)}" for rule, end in ends.items())
    return inline(figure, name, f"Validation {scores.metric} by epoch; at the end {told}", points)


def _points(rule: str, curve: Curve, scores: ScoreFormat) -> list[tuple[float, float, str]]:
    """Return the points of a curve with their tooltips."""
    each = zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True)
    return [
        (
            epoch,
            mean,
            f"{label(rule)}, epoch {epoch}: {scores.full(mean)}"
            + f" (seeds {scores.bare(low)} to {scores.full(high)})" * (low < high),
        )
        for epoch, mean, low, high in thinned(list(each))
    ]


def _stops(stopped: Sequence[Run]) -> dict[str, float]:
    """Return the last score of each rule with unfinished runs; of several runs, that of the
    longest.
    """
    return {run.rule: _known(run)[-1][1] for run in sorted(stopped, key=lambda r: len(r.curve))}


def _band(axes: Axes, frozen: Curve, backprop: Curve) -> None:
    epochs = [epoch for epoch in frozen.epochs if epoch in backprop.epochs]
    low = [frozen.mean[frozen.epochs.index(epoch)] for epoch in epochs]
    high = [backprop.mean[backprop.epochs.index(epoch)] for epoch in epochs]
    axes.fill_between(epochs, low, high, color=MUTED, alpha=0.1, linewidth=0)


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
        markevery=max(1, len(curve.epochs) // 6),
    )


def _stopped(axes: Axes, run: Run, style: Style) -> None:
    """Draw an unfinished run: a thin line that ends in a cross."""
    epochs, values = zip(*_known(run), strict=True)
    axes.plot(epochs, values, color=style.colour, linewidth=0.9)
    axes.plot(
        epochs[-1:], values[-1:], color=style.colour, marker="x", markersize=9, markeredgewidth=2
    )


def _caption(
    curves: Mapping[str, Curve],
    stopped: Sequence[Run],
    scores: ScoreFormat,
    runs: int,
    hidden: Sequence[str],
    flat: Sequence[str],
) -> str:
    parts = [f"The {scores.metric} on the validation examples after each epoch."]
    if runs > 1:
        parts.append(
            f"Lines are means over the finished runs (up to {plural(runs, 'seed')}); the tinted"
            " range around a line spans the lowest to the highest seed."
        )
    if BACKPROP in curves and FROZEN in curves:
        parts.append("The grey band lies between the two controls, frozen and backprop.")
    if flat:
        lines = "lines are" if len(flat) > 1 else "line is"
        told = listing([label(rule) for rule in flat])
        parts.append(f"The last layer of {told} was solved, not trained, so the {lines} flat.")
    if hidden:
        parts.append(f"Below the enlarged range: {listing([label(rule) for rule in hidden])}.")
    if stopped:
        parts.append("A cross ends the line of a run that diverged or failed.")
    return " ".join(parts)
