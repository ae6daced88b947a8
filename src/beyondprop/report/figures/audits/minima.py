"""Figures of minima: the loss around them, its curvature, and the path between two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from beyondprop.report.audited.minima import Connection, Minimum
from beyondprop.report.audited.records import Audit, OfTwo
from beyondprop.report.audited.values import plotted
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits.rows import (
    LOW,
    SMALL,
    few_numbers,
    heat,
    in_order,
    name_of,
    rows_panel,
)
from beyondprop.report.figures.lines import label_ends
from beyondprop.report.figures.panel import panel
from beyondprop.report.figures.tips import of_rule, thinned, tips
from beyondprop.report.labels import text_width
from beyondprop.report.style import INK, MUTED, Style
from beyondprop.report.svg import inline
from beyondprop.report.text import listing, minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 560, 300
STEEP = 20
"""The ratio of the largest to the smallest loss above which an axis is logarithmic."""
MOST, CELLS = 12, 5
"""Most points of a line with tooltips, and along each side of a plane."""


def pictures(audit: Audit, styles: Mapping[str, Style], prefix: str) -> list[Exhibit]:
    """Return the figures of minima."""
    found, made = audit.answers(Minimum), []
    if found:
        made = [
            _line(found, styles, prefix),
            _grids(audit, found, styles, prefix),
            _eigenvalues(found, styles, prefix),
        ]
    pairs = [
        (pair, shown)
        for pair, shown in audit.pairs(Connection)
        if pair.first.rule == pair.second.rule
    ]
    if pairs:
        made.append(_connections(pairs, styles, prefix))
    return made


def _line(
    found: Mapping[str, Sequence[Minimum]], styles: Mapping[str, Style], prefix: str
) -> Exhibit:
    title = "Loss along a random direction"
    lines = {rule: _mean_line(own) for rule, own in found.items()}
    known = [v for line in lines.values() for v in line.values() if not math.isnan(v)]
    if not known:
        return Exhibit(title, missing="The loss is not finite along any direction.")
    names = {rule: name_of(rule) for rule in lines}
    figure, axes = panel(WIDTH, HEIGHT, 26 + max(map(text_width, names.values())))
    for rule, line in lines.items():
        style = styles[rule]
        with of_rule(axes, style):
            axes.plot(
                list(line), list(line.values()), color=style.colour, linestyle=style.line,
                linewidth=style.width,
            )  # fmt: skip
    _loss_axis(axes, known)
    places = [place for line in lines.values() for place in line]
    axes.set_xlim(min(places), max(places))
    axes.xaxis.set_major_formatter(lambda value, _: minus(f"{value:g}"))
    axes.set_xlabel("distance, relative to the norm of the weights")
    ends = {r: [v for v in line.values() if not math.isnan(v)] for r, line in lines.items()}
    last = {rule: own[-1] for rule, own in ends.items() if own}
    at = {rule: _on(axes, value) for rule, value in last.items()}
    linear = axes.get_ylim()
    axes_low, axes_high = _on(axes, linear[0]), _on(axes, linear[1])
    _labels(axes, at, names, styles, (axes_low, axes_high))
    several = "; lines are means over seeds" * any(len(own) > 1 for own in found.values())
    caption = (
        "Training loss as all weights move along a random direction that has the norm of the"
        " weights, filter by filter; 0 is the end of training, and the flatter the line, the less"
        f" the loss depends on the exact weights{several}."
    )
    told = f"Loss along a random direction; at its end {in_order(last)}"
    points = [
        tip
        for rule, line in lines.items()
        for tip in tips(axes, _along(names[rule], line), styles[rule].key)
    ]
    return Exhibit(title, caption, (inline(figure, f"{prefix}-line", told, points),), wide=True)


def _along(name: str, line: Mapping[float, float]) -> list[tuple[float, float, str]]:
    """Return points of a line with their tooltips."""
    return [
        (at, loss, f"{name}, at {minus(f'{at:.3g}')}: loss {loss:.3g}")
        for at, loss in thinned(list(line.items()), MOST)
    ]


def _mean_line(own: Sequence[Minimum]) -> dict[float, float]:
    """Return the mean loss over seeds at each position; NaN if a seed has no value."""
    places = sorted(set.intersection(*({*each.line} for each in own)))
    return {place: fmean(plotted([each.line[place] for each in own])) for place in places}


def _loss_axis(axes: Axes, known: Sequence[float]) -> None:
    """Make the axis of losses logarithmic if their ratio is large."""
    if min(known) > 0 and max(known) / min(known) > STEEP:
        axes.set_yscale("log")
    few_numbers(axes)
    axes.minorticks_off()


def _on(axes: Axes, value: float) -> float:
    """Return the position of a loss on its axis, on a scale that is linear in pixels."""
    return math.log10(value) if axes.get_yscale() == "log" else value


def _labels(
    axes: Axes,
    ends: Mapping[str, float],
    names: Mapping[str, str],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
) -> None:
    """Label lines at their ends, also on a logarithmic axis: on linear axes in the same frame."""
    even = axes.figure.add_axes(axes.get_position().bounds, frameon=False)
    even.set_xticks([])
    even.set_yticks([])
    even.set_ylim(*limits)
    colours = {rule: styles[rule].colour for rule in ends}
    label_ends(even, ends, names, colours, {rule: styles[rule].key for rule in ends})


def _grids(
    audit: Audit,
    found: Mapping[str, Sequence[Minimum]],
    styles: Mapping[str, Style],
    prefix: str,
) -> Exhibit:
    first = {rule: own[0] for rule, own in found.items()}
    values = [v for each in first.values() for row in each.plane for v in row if v is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    steep = low > 0 and high / low > STEEP
    scale = math.log10 if steep else float
    panels = tuple(
        _grid(rule, each, (scale(low), scale(high)), steep, styles[rule].key, f"{prefix}-grid-{i}")
        for i, (rule, each) in enumerate(first.items())
    )
    seeds = listing([str(seed) for seed in dict.fromkeys(audit.first_seeds(Minimum).values())])
    kind = "its logarithm, " * steep
    caption = (
        f"Training loss ({kind}darker is higher, from {low:.3g} to {high:.3g} on one scale for all"
        f" rules) in the plane of two random directions around the end of training, with seed"
        f" {seeds}; a wide pale valley is a flat minimum."
    )
    keys = tuple(styles[rule].key for rule in first)
    return Exhibit("Loss around the minimum", caption, panels, small=True, keys=keys)


def _grid(
    rule: str, found: Minimum, span: tuple[float, float], steep: bool, key: str, name: str
) -> str:
    figure, axes = panel(SMALL, LOW + 20, 14, name_of(rule, 34))
    low, width = span[0], (span[1] - span[0]) or 1.0
    heat(
        axes,
        [[0.8 * _tint(value, steep, low, width) for value in row] for row in reversed(found.plane)],
    )
    size, last = len(found.places), len(found.places) - 1
    ticks = [0, last // 2, last] if size > 2 else [0, last]
    axes.set_xticks(ticks, [minus(f"{found.places[i]:.2g}") for i in ticks])
    axes.set_yticks([last - i for i in ticks], [minus(f"{found.places[i]:.2g}") for i in ticks])
    middle = [value for row in found.plane for value in row if value is not None]
    if size % 2:
        axes.plot([last / 2], [last / 2], "x", color=INK, markersize=6)
    told = f"from {min(middle):.3g} to {max(middle):.3g}" if middle else "no number"
    axes.set_xlabel(f"loss {told}")
    label = f"Loss of {name_of(rule)} in a plane: {told}"
    return inline(figure, name, label, tips(axes, _cells(rule, found), key))


def _cells(rule: str, found: Minimum) -> list[tuple[float, float, str]]:
    """Return evenly spaced points of a plane with their tooltips."""
    last, some = len(found.places) - 1, thinned(range(len(found.places)), CELLS)
    told = [
        (i, j, f"{found.places[j]:.2g}, {found.places[i]:.2g}", found.plane[i][j])
        for i in some
        for j in some
    ]
    return [
        (j, last - i, f"{name_of(rule)}, at ({minus(at)}): loss {_figure(loss)}")
        for i, j, at, loss in told
    ]


def _tint(value: float | None, steep: bool, low: float, width: float) -> float:
    """Return the darkness of a loss; a loss that is not finite is the darkest."""
    if value is None:
        return 1.0
    return ((math.log10(value) if steep else value) - low) / width


def _eigenvalues(
    found: Mapping[str, Sequence[Minimum]], styles: Mapping[str, Style], prefix: str
) -> Exhibit:
    figure, axes, places = rows_panel(list(found), styles)
    values, tops = [], {}
    told_of: list[tuple[str, float, str]] = []  # rule, eigenvalue, words
    for rule, own in found.items():
        y, colour = places[rule], styles[rule].colour
        largest = [v for each in own for v in each.largest if v is not None]
        smallest = [each.smallest for each in own if each.smallest is not None]
        with of_rule(axes, styles[rule]):
            axes.plot(
                largest, [y] * len(largest), "o", color=colour, markersize=5, alpha=0.6,
                markeredgewidth=0,
            )  # fmt: skip
            axes.plot(smallest, [y] * len(smallest), "<", color=colour, markersize=6, alpha=0.8)
        values += [*largest, *smallest]
        for kind, found_of in (("a large", largest), ("the smallest", smallest)):
            words = f"{name_of(rule)}, {kind} eigenvalue"
            told_of += [(rule, value, f"{words}: {minus(f'{value:.3g}')}") for value in found_of]
        heads = [each.largest[0] for each in own if each.largest[0] is not None]
        if heads:
            tops[rule] = fmean(heads)
    greatest = max(map(abs, values), default=1.0) or 1.0
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_xscale("symlog", linthresh=max(greatest / 1000, 1e-12))
    ticks = [sign * greatest * share for sign in (-1, 1) for share in (1, 0.1, 0.01)] + [0.0]
    ticks = [10 ** round(math.log10(abs(t))) * (1 if t > 0 else -1) if t else 0.0 for t in ticks]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    axes.set_xlim(1.6 * low - greatest / 1000, 1.6 * high + greatest / 1000)
    axes.set_xticks(sorted({t for t in ticks if low <= t <= high}))
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: minus(f"{value:.3g}"))
    axes.set_xlabel("eigenvalue")
    caption = (
        "Largest eigenvalues (circles) and smallest eigenvalue (triangle) of the Hessian of the"
        " loss, for every seed, on an axis that is logarithmic away from 0; the further right, the"
        " sharper the minimum, and along an eigenvector with an eigenvalue left of 0 the loss can"
        " still fall."
    )
    told = f"Eigenvalues of the Hessian; the largest {in_order(tops)}"
    points = [
        tip
        for rule, value, words in told_of
        for tip in tips(axes, [(value, places[rule], words)], styles[rule].key)
    ]
    shown = inline(figure, f"{prefix}-eigenvalues", told, points)
    return Exhibit("Curvature of the loss", caption, (shown,))


def _connections(
    pairs: Sequence[tuple[OfTwo, Connection]], styles: Mapping[str, Style], prefix: str
) -> Exhibit:
    lines = [line for _, each in pairs for line in (each.plain, each.matched) if line is not None]
    known = [loss for line in lines for loss in line.losses if loss is not None]
    panels = tuple(
        _connection(pair, shown, styles[pair.first.rule], known, f"{prefix}-between-{i}")
        for i, (pair, shown) in enumerate(pairs)
    )
    alone = [name_of(pair.first.rule) for pair, each in pairs if each.matched is None]
    without = f" (no matching for {listing(alone)})" * bool(alone)
    caption = (
        "Training loss on the straight line between the weights of two seeds, unchanged (solid)"
        f" and with the second's units matched to the first's (dashed){without}; a barrier between"
        " them means that the two lie in different valleys."
    )
    keys = tuple(styles[pair.first.rule].key for pair, _ in pairs)
    return Exhibit("Between two seeds", caption, panels, small=True, keys=keys)


def _connection(
    pair: OfTwo, found: Connection, style: Style, known: Sequence[float], name: str
) -> str:
    figure, axes = panel(SMALL, LOW - 10, 26, name_of(pair.first.rule, 34))
    axes.plot(found.places, plotted(found.plain.losses), color=style.colour, linewidth=1.8)
    told = f"barrier {_figure(found.plain.barrier)}"
    if found.matched is not None:
        axes.plot(
            found.places, plotted(found.matched.losses), color=style.colour, linewidth=1.6,
            linestyle=(0, (3, 1.6)),
        )  # fmt: skip
        told += f", matched {_figure(found.matched.barrier)}"
    if known:
        _loss_axis(axes, known)
        low, high = min(known), max(known)
        pad = (high / low) ** 0.06 if axes.get_yscale() == "log" else 0.06 * (high - low) or 1.0
        even = axes.get_yscale() != "log"
        axes.set_ylim(low - pad if even else low / pad, high + pad if even else high * pad)
    axes.set_xticks([0, 1], [f"seed {pair.first.seed}", f"seed {pair.second.seed}"])
    axes.set_xlabel(told, fontsize=10)
    label = f"Loss between two seeds of {name_of(pair.first.rule)}: {told}"
    points = [
        (at, loss, f"{kind}, {100 * at:.0f}% of the way: loss {loss:.3g}")
        for kind, path in (("unchanged", found.plain), ("matched", found.matched))
        if path is not None
        for at, loss in thinned(list(zip(found.places, plotted(path.losses), strict=True)), MOST)
    ]
    return inline(figure, name, label, tips(axes, points, style.key))


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
