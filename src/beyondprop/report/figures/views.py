"""Held-out views of a scene as rendered by each rule's network, next to the true ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from beyondprop.measure import Figures
from beyondprop.report.figures import Exhibit
from beyondprop.report.records import Comparison
from beyondprop.report.style import Style
from beyondprop.report.svg import plain, tip_box
from beyondprop.report.text import label, shorten

TITLE = "Held-out views"
SIDE, GAP, BELOW = 140, 12, 38
"""CSS pixels: the side of a picture, the gap between pictures, and the space for words below."""

BASE64 = re.compile(r"[A-Za-z0-9+/]+=*")

CAPTION = (
    "Each row is a view from a camera that is not in the training data: the true picture, then the"
    " rendering by the network of each rule with the first seed. The peak signal-to-noise ratio"
    " (PSNR) is of this view alone."
)


def rendered_views(
    comparison: Comparison,
    styles: Mapping[str, Style],  # noqa: ARG001
    prefix: str,  # noqa: ARG001
) -> Exhibit | None:
    """Return the pictures of each view, one row per view; None if there are none."""
    found = {row.rule: _figures(comparison, row.rule) for row in comparison.rows}
    shown = {rule: each for rule, each in found.items() if each and _pictures(each, "rendered")}
    if not shown:
        return None
    true = _pictures(next(iter(shown.values())), "true")
    rows = tuple(_row(i, picture, shown) for i, picture in enumerate(true))
    return Exhibit(TITLE, CAPTION, rows, wide=True)


def _figures(comparison: Comparison, rule: str) -> Figures | None:
    """Return the views of the first finished run of a rule."""
    runs = comparison.finished(rule)
    return next((run.measures["views"] for run in runs if "views" in run.measures), None)


def _pictures(figures: Figures, key: str) -> list[str]:
    found = figures.details.get(key)
    listed = found if isinstance(found, list) else []
    return [each for each in listed if isinstance(each, str) and BASE64.fullmatch(each)]


def _row(number: int, true: str, shown: Mapping[str, Figures]) -> str:
    """Return a row of pictures as SVG."""
    cells = [_cell(0, true, "true", "")]
    tips = [_tip(0, f"View {number + 1}, true")]
    for place, (rule, figures) in enumerate(shown.items(), 1):
        made = _pictures(figures, "rendered")
        if number < len(made):
            told = _ratio(figures.details.get("psnr"), number)
            cells.append(_cell(place, made[number], shorten(label(rule), 18), told))
            tips.append(_tip(place, f"View {number + 1}, {label(rule)}" + f": {told}" * bool(told)))
    width, height = (len(shown) + 1) * (SIDE + GAP) - GAP, SIDE + BELOW
    names = ", ".join(["true", *(label(rule) for rule in shown)])
    told = escape(plain(f"View {number + 1}: {names}"))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{told}">'
        + "".join(cells + tips)
        + "</svg>"
    )


def _tip(place: int, text: str) -> str:
    """Return the tip of a picture."""
    return tip_box(place * (SIDE + GAP), 0, SIDE, SIDE, text)


def _ratio(ratios: object, number: int) -> str:
    known = ratios[number] if isinstance(ratios, Sequence) and number < len(ratios) else None
    return f"{known:.2f} dB" if isinstance(known, int | float) else ""


def _cell(place: int, picture: str, name: str, told: str) -> str:
    x = place * (SIDE + GAP)
    return (
        f'<image x="{x}" y="0" width="{SIDE}" height="{SIDE}" '
        f'style="image-rendering: pixelated" href="data:image/png;base64,{picture}"></image>'
        f'<text x="{x}" y="{SIDE + 16}" font-size="13" fill="currentColor">{escape(plain(name))}'
        f'</text><text x="{x}" y="{SIDE + 32}" font-size="12" style="fill: var(--muted)">{told}'
        "</text>"
    )
