"""Single samples with explanations of each rule's answer: its map, and effects of its regions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beyondprop.report.audited.explanations import Effect, Explanations, Picture, Sample
from beyondprop.report.audited.records import Audit
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits.rows import COLD, HEAT, SMALL, heat, name_of
from beyondprop.report.figures.panel import UNITS
from beyondprop.report.figures.tips import thinned, tips
from beyondprop.report.style import INK, LINE, MUTED, Style
from beyondprop.report.svg import Tip, inline, plain
from beyondprop.report.text import label, listing, minus, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 3
"""Most samples that are shown."""
LISTED = 5
"""Most effects in a list."""
SIDE, TOP, GAP = 136, 24, 18
"""Side of a square picture, and the gaps above it and between two."""
LINE_HEIGHT = 17
"""Line height of a region's name in a table."""
CELLS = 8
"""Cells along a side of a picture that have a tip."""
LONGEST = 18
"""Most characters of a region's name, and of an answer."""


def samples(audit: Audit, styles: Mapping[str, Style], prefix: str) -> list[Exhibit]:
    """Return some samples of the first seed: for each the picture, and one panel per rule."""
    first = {rule: own[0] for rule, own in audit.answers(Explanations).items()}
    rows = list(dict.fromkeys(each.row for own in first.values() for each in own.shown))
    seeds = listing([str(seed) for seed in dict.fromkeys(audit.first_seeds(Explanations).values())])
    made = []
    for place, row in enumerate(rows[:FEW]):
        shown = {
            rule: (each, own.named)
            for rule, own in first.items()
            for each in own.shown
            if each.row == row
        }
        made.append(_sample(row, shown, styles, seeds, f"{prefix}-sample-{place}"))
    return made


def _sample(
    row: int,
    shown: Mapping[str, tuple[Sample, tuple[str, ...]]],
    styles: Mapping[str, Style],
    seeds: str,
    prefix: str,
) -> Exhibit:
    first = next(iter(shown.values()))[0]
    drawn = [_rule(rule, *each, f"{prefix}-{i}") for i, (rule, each) in enumerate(shown.items())]
    keys = [styles[rule].key for rule in shown]
    image = first.picture is not None
    if image:
        drawn.insert(0, _itself(first, f"{prefix}-itself"))
        keys.insert(0, "")  # the picture belongs to no rule
        what = (
            "For each rule, the map of integrated gradients, and next to it the effects of patches"
            " alone (tint) and in pairs (arcs between them)"
        )
    else:
        what = "For each rule, the effects of features alone (bars) and in pairs (arcs)"
    caption = (
        f"{what}: orange supports the answer, blue opposes it, an orange arc joins two whose"
        " combined effect exceeds the sum of their own, a blue arc two that repeat each other"
        f" (seed {seeds})."
    )
    words = tuple((label(rule), _listed(each)) for rule, (each, _) in shown.items())
    title = f"Test sample {row}, truly {plain(first.truth)}"
    return Exhibit(title, caption, tuple(drawn), small=True, keys=tuple(keys), words=words)


def _listed(sample: Sample) -> str:
    """Return the list of effects of one rule."""
    effects = "; ".join(_effect(each) for each in sample.most[:LISTED]) or "nothing"
    pairs = [each for each in sample.pairs[:LISTED] if each not in sample.most[:LISTED]]
    more = f". Pairs: {'; '.join(map(_effect, pairs[:2]))}" * bool(pairs)
    return f"answers {sample.answer}: {effects}{more}."


def _effect(found: Effect) -> str:
    size = minus(f"{found.size:+.3g}")
    return f"{' with '.join(found.of)} ({size})"


def _figure(height: int, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SMALL / UNITS, height / UNITS), dpi=UNITS)
    figure.patch.set_visible(False)
    figure.text(0, 1 - 13 / height, plain(title), color=INK, fontweight="bold")
    return figure


def _square(figure: Figure, place: int, height: int) -> Axes:
    """Return axes for a square picture, the first or the second."""
    left = place * (SIDE + GAP)
    axes = figure.add_axes(
        (left / SMALL, (height - TOP - SIDE) / height, SIDE / SMALL, SIDE / height)
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_color(LINE)
    return axes


def _itself(sample: Sample, name: str) -> str:
    height = TOP + SIDE + 6
    figure = _figure(height, "The sample")
    axes = _square(figure, 0, height)
    points: list[Tip] = []
    if sample.picture is not None:
        axes.imshow(sample.picture.rows, cmap="gray", aspect="auto", interpolation="none")
        axes.grid(visible=False)
        points = _pixels(axes, sample.picture, "value")
    return inline(figure, name, f"Test sample {sample.row}, truly {plain(sample.truth)}", points)


def _rule(rule: str, sample: Sample, named: tuple[str, ...], name: str) -> str:
    answer = plain(shorten(sample.answer, LONGEST))
    title = f"{name_of(rule)} says {answer}"
    across = math.isqrt(len(named))
    if sample.map is not None and across * across == len(named):
        height = TOP + SIDE + 6
        figure = _figure(height, title)
        points = _map(_square(figure, 0, height), sample.map)
        points += _patches(_square(figure, 1, height), sample, named, across)
    else:
        figure, points = _of_table(title, sample, named)
    return inline(figure, name, f"{title}: {plain(_listed(sample))}", points)


def _alone(sample: Sample, named: Sequence[str]) -> list[str]:
    """Return the tooltip of each single region."""
    return [
        f"{name} alone: {minus(f'{size:+.3g}')}"
        for name, size in zip(named, sample.single, strict=False)
    ]


def _map(axes: Axes, found: Picture) -> list[Tip]:
    most = max((abs(value) for row in found.rows for value in row), default=0.0) or 1.0
    heat(axes, [[value / most for value in row] for row in found.rows])
    return _pixels(axes, found, "integrated gradients")


def _pixels(axes: Axes, found: Picture, what: str) -> list[Tip]:
    """Return tips for some pixels, evenly spread."""
    height, width = len(found.rows), len(found.rows[0])
    return tips(
        axes,
        [
            (x, y, f"row {y + 1}, column {x + 1}: {what} {minus(f'{found.rows[y][x]:.3g}')}")
            for y in thinned(range(height), CELLS)
            for x in thinned(range(width), CELLS)
        ],
    )


def _patches(axes: Axes, sample: Sample, named: Sequence[str], across: int) -> list[Tip]:
    """Draw effects of single patches as tints, and of pairs as arcs; return the tooltips."""
    most = max(map(abs, sample.single), default=0.0) or 1.0
    tints = [0.8 * each / most for each in sample.single]
    heat(axes, [tints[i : i + across] for i in range(0, len(tints), across)])
    for one in sample.pairs[:LISTED]:
        (y1, x1), (y2, x2) = (divmod(player, across) for player in one.players[:2])
        _arc(axes, (x1, y1), (x2, y2), one, sample, 0.25)
    axes.set_xlim(-0.5, across - 0.5)
    axes.set_ylim(across - 0.5, -0.5)
    told = _alone(sample, named)
    return tips(axes, [(i % across, i // across, each) for i, each in enumerate(told)])


def _arc(
    axes: Axes,
    first: tuple[float, float],
    second: tuple[float, float],
    effect: Effect,
    sample: Sample,
    bent: float,
) -> None:
    """Draw the effect of a pair of regions, which defines the width of the line."""
    from matplotlib.patches import FancyArrowPatch

    most = max((abs(each.size) for each in sample.pairs), default=0.0) or 1.0
    colour = COLD if effect.size < 0 else HEAT
    for wide, drawn in ((2.2, INK), (0.0, colour)):
        axes.add_patch(
            FancyArrowPatch(
                first,
                second,
                arrowstyle="-",
                connectionstyle=f"arc3,rad={bent}",
                color=drawn,
                linewidth=1.2 + 2.6 * abs(effect.size) / most + wide,
                shrinkA=0,
                shrinkB=0,
                alpha=0.35 if wide else 1,
                clip_on=False,
            )
        )
    axes.plot(*zip(first, second, strict=True), "o", color=INK, markersize=3.5, clip_on=False)


def _of_table(title: str, sample: Sample, named: Sequence[str]) -> tuple[Figure, list[Tip]]:
    """Return a picture of features with single effects as bars and effects of pairs as arcs, and
    the tooltips.
    """
    height = TOP + LINE_HEIGHT * len(named) + 8
    figure = _figure(height, title)
    left, wide, far = 108, 96, 84
    frame = ((height - TOP - LINE_HEIGHT * len(named)) / height, LINE_HEIGHT * len(named) / height)
    bars = figure.add_axes((left / SMALL, frame[0], wide / SMALL, frame[1]))
    arcs = figure.add_axes(((left + wide) / SMALL, frame[0], far / SMALL, frame[1]))
    places = [len(named) - 1.0 - i for i in range(len(named))]
    most = max(map(abs, sample.single), default=0.0) or 1.0
    colours = [COLD if each < 0 else HEAT for each in sample.single]
    bars.barh(places, [each / most for each in sample.single], 0.66, color=colours)
    bars.axvline(0, color=MUTED, linewidth=0.8)
    bars.set_xlim(-1.05, 1.05)
    for place, each in zip(places, named, strict=True):
        bars.text(
            -0.04, place, plain(shorten(each, LONGEST)), transform=bars.get_yaxis_transform(),
            ha="right", va="center", color=MUTED, fontsize=10.5,
        )  # fmt: skip
    for one in sample.pairs[:LISTED]:
        first, second = sorted((places[player] for player in one.players[:2]), reverse=True)
        bent = 0.7 if first - second < len(named) / 2 else 0.4
        _arc(arcs, (0, second), (0, first), one, sample, bent)
    arcs.set_xlim(0, far / LINE_HEIGHT)
    for axes in (bars, arcs):
        axes.set_ylim(-0.5, len(named) - 0.5)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
    ends = zip(sample.single, places, _alone(sample, named), strict=False)
    return figure, tips(bars, [(size / most, place, told) for size, place, told in ends])
