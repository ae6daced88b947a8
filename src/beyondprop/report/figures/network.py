"""A distilled network as SVG: the chosen candidate, its size and its error by neighbourhood.

Neighbourhoods are drawn from top to bottom in the order of the network; each budget has a
column. The length of a bar is the share of the operations of the teacher's piece that remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from beyondprop.neighbourhoods import TEACHER
from beyondprop.report.distilled.picture import Cell, Column, Picture, picture_of
from beyondprop.report.distilled.records import Distillation
from beyondprop.report.distilled.students import figure, rise
from beyondprop.report.svg import plain, tip_box
from beyondprop.report.text import percent, shorten

PAGE = 920
"""The width of a picture on a page, in CSS pixels."""
CHARACTER = 7.2
"""The character width of a wide sans-serif font at the size of the text."""
FONT, ROW, BAR, GAP = 12, 26, 20, 12
HEAD, LEGEND = 46, 58
"""Heights of the columns' headings and of the legend above them."""
SHARE, RISE = 40, 66
"""Widths of the shares of operations and of the figures next to a bar."""
LEAST, MOST = 110, 200
"""Smallest and largest width of a bar."""
LONGEST = 22
"""Most characters of a neighbourhood's name."""
FULL, PALE = 0.6, 0.15
"""The strength of the colour of the largest figure, and of zero."""
SWATCHES = 5
DIGITS = 2
"""Significant digits of the figures next to bars; the table of students has more."""
INK, MUTED = "fill: currentColor", "fill: var(--muted)"
BOLD = f"{INK}; font-weight: 650"
BARE = "; stroke: none"
"""The style of text on a bar: without the halo of other text in figures."""


@dataclass(frozen=True)
class Layout:
    """Widths of the parts of a picture.

    Attributes:
        left: The width of the names and their shares.
        bar: The width of a full bar, in which a name of usual length fits.
    """

    left: float
    bar: float

    @property
    def pitch(self) -> float:
        """The distance between columns."""
        return self.bar + SHARE + RISE + GAP


def layout_of(picture: Picture) -> Layout:
    """Return the widths of the parts of a picture."""
    names = max(len(shorten(name, LONGEST)) for name in picture.names)
    chosen = [len(cell.name) for column in picture.columns for cell in column.cells]
    bar = max(chosen, default=0) * CHARACTER + 12
    return Layout(names * CHARACTER + SHARE + GAP, min(max(bar, LEAST), MOST))


def network(found: Distillation) -> list[str]:
    """Return pictures of the network as SVG, each with the budgets that fit on a page."""
    if not found.neighbourhoods:
        return []
    picture = picture_of(found)
    layout, columns = layout_of(picture), picture.columns
    size = max(1, int((PAGE - layout.left + GAP) // layout.pitch))
    return [_drawn(picture, layout, columns[at : at + size]) for at in range(0, len(columns), size)]


def _drawn(picture: Picture, layout: Layout, columns: Sequence[Column]) -> str:
    """Return one picture as SVG."""
    legend, least = _legend(picture)
    width = max(layout.left + len(columns) * layout.pitch - GAP, least)
    height = LEGEND + HEAD + len(picture.names) * ROW
    told = "; ".join(
        f"{column.title}: {', '.join(cell.hint for cell in column.cells) or column.below}"
        for column in columns
    )
    parts = [
        *legend,
        *_names(picture, layout),
        *(
            part
            for place, column in enumerate(columns)
            for part in _column(picture, layout, column, layout.left + place * layout.pitch)
        ),
        *(
            tip_box(layout.left + place * layout.pitch, _top(row), layout.bar, BAR, cell.hint)
            for place, column in enumerate(columns)
            for row, cell in enumerate(column.cells)
        ),
    ]
    return (
        f'<svg viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img"'
        f' aria-label="{escape(plain(f"Chosen candidates {told}"))}">{"".join(parts)}</svg>'
    )


def _names(picture: Picture, layout: Layout) -> Iterator[str]:
    """Yield the names of the neighbourhoods with their shares of the operations."""
    for row, (name, part) in enumerate(zip(picture.names, picture.parts, strict=True)):
        y = _baseline(row)
        yield _text(0, y, shorten(name, LONGEST), hint=name)
        yield _text(layout.left - GAP, y, percent(part), MUTED, "end")


def _column(picture: Picture, layout: Layout, column: Column, x: float) -> Iterator[str]:
    """Yield a budget's heading and its cells."""
    yield _text(x, LEGEND + 14, column.title, BOLD)
    yield _text(x, LEGEND + 31, column.below, MUTED)
    for row, cell in enumerate(column.cells):
        yield from _cell(picture, cell, layout.bar, x, row)


def _cell(picture: Picture, cell: Cell, whole: float, x: float, row: int) -> Iterator[str]:
    """Yield a frame for the teacher's piece, the bar in it, the name and the figures."""
    y = _top(row)
    part = 1.0 if cell.share is None else min(max(cell.share, 0.0), 1.0)
    yield "<g>"
    yield f"<title>{escape(plain(cell.hint))}</title>"
    yield _rectangle(x, y, whole, "fill: none; stroke: var(--line)")
    fill = "var(--line)" if cell.figure is None else _colour(strength(cell.figure, picture.most))
    yield _rectangle(x, y, whole * part, f"fill: {fill}")
    room = int((whole - 8) / CHARACTER)
    teacher = cell.name == TEACHER
    style = (MUTED if teacher else INK) + BARE
    yield _text(x + 5, _baseline(row), middle_cut(cell.name, room), style)
    yield "</g>"
    if not teacher:
        yield _text(x + whole + SHARE, _baseline(row), percent(cell.share), MUTED, "end")
    if cell.figure is not None:
        written = (rise if picture.alone else figure)(cell.figure, DIGITS)
        yield _text(x + whole + SHARE + RISE, _baseline(row), written, INK, "end")


def strength(value: float, most: float) -> float:
    """Return the strength of a figure's colour, from 0 to 1."""
    return min(max(value / most, 0.0), 1.0) if most > 0 else 0.0


def middle_cut(text: str, length: int) -> str:
    """Return `text`, or its start and its end: candidates differ in their names and arguments."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def _legend(picture: Picture) -> tuple[list[str], float]:
    """Return the legend of bars and colours, in two lines, and its width."""
    what = (
        "increase of the network's validation loss with this piece alone"
        if picture.alone
        else "error: distance from the output of the teacher's piece"
    )
    write, x = (rise if picture.alone else figure), 72.0
    parts = [
        _rectangle(1, 2, 60, "fill: none; stroke: var(--line)", 14),
        _rectangle(1, 2, 30, f"fill: {_colour(0.5)}", 14),
        _text(x, 13, "share of the piece's operations", MUTED),
    ]
    across = x + 40 * CHARACTER
    parts += [
        _rectangle(across, 2, 60, "fill: var(--line)", 14),
        _text(across + x, 13, "the teacher's piece stays", MUTED),
    ]
    step = 60 / SWATCHES
    parts += [
        _rectangle(1 + place * step, 24, step, f"fill: {_colour(place / (SWATCHES - 1))}", 14)
        for place in range(SWATCHES)
    ]
    told = (
        f"from 0 to {write(picture.most)}: {what}" if picture.most > 0 else f"none above 0: {what}"
    )
    parts.append(_text(x, 35, told, MUTED))
    return parts, max(across + x + 26 * CHARACTER, x + len(told) * CHARACTER)


def _top(row: int) -> float:
    """Return the top of the bars of a row."""
    return LEGEND + HEAD + row * ROW


def _baseline(row: int) -> float:
    """Return the baseline of the text of a row."""
    return _top(row) + BAR / 2 + 0.36 * FONT


def _colour(part: float) -> str:
    return f"rgb(var(--heat) / {PALE + (FULL - PALE) * part:.3f})"


def _rectangle(x: float, y: float, width: float, style: str, height: float = BAR) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}"'
        f' style="{style}"></rect>'
    )


def _text(
    x: float, y: float, text: str, style: str = INK, anchor: str = "start", hint: str = ""
) -> str:
    """Return a line of text with its tooltip."""
    title = f"<title>{escape(plain(hint))}</title>" if hint else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{FONT}" text-anchor="{anchor}" style="{style}">'
        f"{escape(plain(text))}{title}</text>"
    )
