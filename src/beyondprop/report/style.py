"""One colour, dash and marker per rule, the same in every figure and table of a page.

The controls are drawn in the text's own colours: backprop full, frozen and linear muted. The other
colours are those of Okabe and Ito (2008), told apart under every common colour blindness; the style
sheet holds a lighter variant of each for the dark theme.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from beyondprop.report.records import BACKPROP, CONTROLS, FROZEN, LINEAR

# What matplotlib is given in place of a colour; svg.py turns it into the CSS variable beside it.
# Black is not among them, since matplotlib leaves it out of what it writes.
INK, MUTED, LINE, PAGE = "#010101", "#020202", "#030303", "#040404"
_COLOURS = [f"#0500{i:02x}" for i in range(6)]
VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAGE: "var(--page)",
} | {colour: f"var(--rule-{i})" for i, colour in enumerate(_COLOURS)}

_MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
_DASHES: list[tuple[float, ...]] = [(), (5, 1.5), (5, 1.2, 1.2, 1.2), (2.2, 1.2)]


@dataclass(frozen=True)
class Style:
    """How a rule is drawn. `dashes` is in units of the line's width, empty for a full line."""

    colour: str
    dashes: tuple[float, ...]
    marker: str
    width: float = 1.8

    @property
    def variable(self) -> str:
        """The colour as CSS."""
        return VARIABLES[self.colour]

    @property
    def dash_array(self) -> str:
        """The dashes as SVG writes them, in pixels."""
        return " ".join(f"{dash * self.width:g}" for dash in self.dashes)

    @property
    def line(self) -> tuple[float, tuple[float, ...] | None]:
        """The dashes as matplotlib takes them."""
        return (0, self.dashes or None)


def styles(rules: Iterable[str]) -> dict[str, Style]:
    """Return a style for each rule, in the order they come."""
    unique = list(dict.fromkeys(rules))
    others = [rule for rule in unique if rule not in CONTROLS]
    controls = {BACKPROP: Style(INK, (), "o", 2.0), FROZEN: Style(MUTED, (3, 1.6), "s")}
    controls[LINEAR] = Style(MUTED, (1, 1.4), "D")
    return {rule: style for rule, style in controls.items() if rule in unique} | {
        rule: Style(
            _COLOURS[i % len(_COLOURS)],
            _DASHES[i % len(_DASHES)],
            # One further, so that no rule has both the marker of backprop and a full line.
            _MARKERS[(i + 2) % len(_MARKERS)],
        )
        for i, rule in enumerate(others)
    }
