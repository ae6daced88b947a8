"""Placing labels so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]
# The average character width of a 12 pixel sans-serif font, with a small margin.
CHARACTER = 7.6


def text_width(text: str) -> int:
    """Return the approximate width of `text` in pixels; the browser's font is unknown."""
    return round(len(text) * CHARACTER)


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return the nearest positions (least squares) in the same order that are `gap` apart.

    They are shifted into [low, high] if they fit; otherwise they begin at `low`.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    pools: list[list[float]] = []  # groups of touching labels: [sum of offsets, members]
    for rank, i in enumerate(order):
        pools.append([positions[i] - rank * gap, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            total, members = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += members
    offsets = [total / members for total, members in pools for _ in range(int(members))]
    room = high - gap * (len(positions) - 1)
    placed = [0.0] * len(positions)
    for rank, i in enumerate(order):
        placed[i] = max(low, min(room, offsets[rank])) + rank * gap
    return placed


def beside(x: float, y: float, width: float, height: float, taken: Sequence[Box]) -> Box:
    """Return a box of `width` x `height` at the point (x, y) that overlaps taken boxes the least.

    Boxes are (left, bottom, right, top). Among equal places, right of the point comes first, then
    left, above and below, then places some lines further up and down.
    """
    away = 9
    sides = (x + away, x - away - width)
    corners = [
        (x + away, y - height / 2),
        (x - away - width, y - height / 2),
        (x - width / 2, y + away),
        (x - width / 2, y - away - height),
        (x + away, y + away / 2),
        (x + away, y - away / 2 - height),
        (x - away - width, y + away / 2),
        (x - away - width, y - away / 2 - height),
        *((left, y + lines * height) for lines in (1, -2, 2, -3, 3, -4) for left in sides),
    ]
    boxes = [(left, bottom, left + width, bottom + height) for left, bottom in corners]
    return min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
