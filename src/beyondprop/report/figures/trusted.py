"""The weights of modalities, sample by sample, as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.attention import named_panel
from beyondprop.report.figures.lines import label_ends
from beyondprop.report.figures.tips import tips
from beyondprop.report.modal.records import ModalComparison, Trust, title
from beyondprop.report.modal.trust import shown_methods
from beyondprop.report.style import Style
from beyondprop.report.svg import inline
from beyondprop.report.text import listing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Weights by sample"
BARS, MARK = 150, 17
"""Height of the bars, and of each row of marks below."""
TONES = 6
"""The number of colours; further modalities have the same ones, fainter."""


def samples(found: ModalComparison, styles: Mapping[str, Style], prefix: str) -> Exhibit | None:
    """Return the weights of the first test samples of the first seed that has them; None if no
    method's weights are known.
    """
    shown = {
        method: (each.seed, trust)
        for method in shown_methods(found)
        for each in reversed(found.seeds)  # the first one remains
        if (trust := each.methods[method].trust) is not None and trust.samples
    }
    if not shown:
        return None
    panels = [
        _panel(found, method, trust, styles, f"{prefix}-samples-{i}")
        for i, (method, (_, trust)) in enumerate(shown.items())
    ]
    seeds = listing([str(seed) for seed in dict.fromkeys(seed for seed, _ in shown.values())])
    marks = (
        "; below it, a filled circle marks a modality that alone is right about the sample, a cross"
        " one that is wrong"
    )
    caption = (
        "Each bar is one of the first test samples, and each of its parts the weight of a modality"
        f" (seed {seeds}){marks * any(bool(trust.right) for _, trust in shown.values())}."
    )
    return Exhibit(TITLE, caption, tuple(panels))


def _panel(
    found: ModalComparison, method: str, trust: Trust, styles: Mapping[str, Style], name: str
) -> str:
    """Return the picture of one method."""
    modalities, count = found.modalities, len(trust.samples)
    rows = len(modalities) if trust.right else 0
    names, figure, axes = named_panel(found, method, BARS + MARK * rows)
    ends = _bars(axes, found, trust, styles)
    if trust.right:
        ends = {each: -MARK * (row + 0.75) / BARS for row, each in enumerate(modalities)}
        _marks(axes, trust, ends, styles)
    axes.set_xlim(0.4, count + 0.6)
    axes.set_ylim(-MARK * (rows + 0.25 * bool(rows)) / BARS, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks(range(1, count + 1))
    axes.tick_params(axis="x", length=0, labelsize=10)
    axes.set_xlabel("test sample")
    label_ends(axes, ends, names, {each: styles[each].colour for each in modalities})
    label = f"Weights of {title(method)}, {_told(trust, names)}"
    return inline(figure, name, label, tips(axes, _parts(trust, names)))


def _parts(trust: Trust, names: Mapping[str, str]) -> list[tuple[float, float, str]]:
    """Return the middle of each part of a bar, with its tooltip."""
    found = []
    for number, weights in enumerate(trust.samples, 1):
        top = 1.0
        for row, (name, weight) in enumerate(zip(names.values(), weights, strict=True)):
            alone = ""
            if trust.right:
                alone = ", alone right" if trust.right[number - 1][row] else ", alone wrong"
            told = f"sample {number}, {name}: weight {weight:.2f}{alone}"
            found.append((float(number), top - weight / 2, told))
            top -= weight
    return found


def _bars(
    axes: Axes, found: ModalComparison, trust: Trust, styles: Mapping[str, Style]
) -> dict[str, float]:
    """Draw the bars, with the first modality on top, as in the marks; return the middles of the
    last bar's parts.
    """
    places, tops, middles = range(1, len(trust.samples) + 1), [1.0] * len(trust.samples), {}
    for row, each in enumerate(found.modalities):
        heights = [weights[row] for weights in trust.samples]
        bottoms = [top - height for top, height in zip(tops, heights, strict=True)]
        alpha = 1 / 2 ** (row // TONES)
        axes.bar(places, heights, 0.8, bottoms, color=styles[each].colour, alpha=alpha)
        middles[each] = (tops[-1] + bottoms[-1]) / 2
        tops = bottoms
    return middles


def _marks(
    axes: Axes, trust: Trust, lines: Mapping[str, float], styles: Mapping[str, Style]
) -> None:
    """Draw a row per modality: a filled circle where it alone is right, otherwise a cross."""
    for place, (modality, y) in enumerate(lines.items()):
        for flag, marker, width in ((True, "o", 0), (False, "x", 1.3)):
            at = [i for i, row in enumerate(trust.right, 1) if row[place] is flag]
            axes.plot(
                at,
                [y] * len(at),
                marker,
                color=styles[modality].colour,
                markersize=6,
                markeredgewidth=width,
                clip_on=False,
            )


def _told(trust: Trust, names: Mapping[str, str]) -> str:
    """Return the weights of the samples in words."""
    told = []
    for number, weights in enumerate(trust.samples, 1):
        own = ", ".join(
            f"{name} {weight:.2f}" for name, weight in zip(names.values(), weights, strict=True)
        )
        told.append(f"sample {number}: {own}")
    return "; ".join(told)
