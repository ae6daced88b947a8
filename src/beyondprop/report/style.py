"""One colour, dash and marker per rule, the same in every figure and table of a page.

The controls have the text's own colours: full for backprop, muted for frozen and linear. The other
colours are those of Okabe and Ito (2008), which are distinguishable with every common colour
blindness; the style sheet has a lighter variant of each for the dark theme.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from beyondprop.report.records import BACKPROP, CONTROLS, FROZEN, LINEAR

# Placeholder colours for matplotlib; svg.py replaces each by its CSS variable.
# Black is not among them, since matplotlib omits it from its output.
INK, MUTED, LINE, PAGE = "#010101", "#020202", "#030303", "#040404"
_COLOURS = [f"#0500{i:02x}" for i in range(6)]
VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAGE: "var(--page)",
} | {colour: f"var(--rule-{i})" for i, colour in enumerate(_COLOURS)}

MARKERS = {
    "o": "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0",
    "s": "M-3,-3h6v6h-6z",
    "^": "M0,-3.5L3.5,3H-3.5z",
    "D": "M0,-4L4,0L0,4L-4,0z",
    "v": "M0,3.5L3.5,-3H-3.5z",
    "P": "M-1.2,-3.5h2.4v2.3h2.3v2.4h-2.3v2.3h-2.4v-2.3h-2.3v-2.4h2.3z",
    "X": "M-3.5,-2L-2,-3.5L0,-1.5L2,-3.5L3.5,-2L1.5,0L3.5,2L2,3.5L0,1.5L-2,3.5L-3.5,2L-1.5,0z",
}
"""The markers of lines by matplotlib's names, each with its outline as an SVG path."""
_MARKERS = list(MARKERS)
_DASHES: list[tuple[float, ...]] = [(), (5, 1.5), (5, 1.2, 1.2, 1.2), (2.2, 1.2)]


@dataclass(frozen=True)
class Style:
    """The line style of a rule.

    Attributes:
        colour: The placeholder colour for matplotlib.
        dashes: The dashes in units of the line's width; empty for a solid line.
        marker: The marker, by matplotlib's name.
        width: The width of the line in pixels.
        key: The rule's identifier in the page's markup.
    """

    colour: str
    dashes: tuple[float, ...]
    marker: str
    width: float = 1.8
    key: str = ""

    @property
    def variable(self) -> str:
        """The colour as CSS."""
        return VARIABLES[self.colour]

    @property
    def dash_array(self) -> str:
        """The dashes as an SVG attribute, in pixels."""
        return " ".join(f"{dash * self.width:g}" for dash in self.dashes)

    @property
    def outline(self) -> str:
        """The marker as an SVG path around the origin."""
        return MARKERS[self.marker]

    @property
    def line(self) -> tuple[float, tuple[float, ...] | None]:
        """The dashes as a matplotlib line style."""
        return (0, self.dashes or None)


def styles(rules: Iterable[str]) -> dict[str, Style]:
    """Return a style for each rule: first the controls, then the others in their order.

    Six rules differ in colour, 24 in colour or dashes, and their markers differ as well.
    """
    unique = list(dict.fromkeys(rules))
    others = [rule for rule in unique if rule not in CONTROLS]
    controls = {BACKPROP: Style(INK, (), "o", 2.0), FROZEN: Style(MUTED, (3, 1.6), "s")}
    controls[LINEAR] = Style(MUTED, (1, 1.4), "D")
    found = {rule: style for rule, style in controls.items() if rule in unique} | {
        rule: Style(
            _COLOURS[i % len(_COLOURS)],
            # Shifted by one for every round of colours, so that dashes do not repeat with colours.
            _DASHES[(i + i // len(_COLOURS)) % len(_DASHES)],
            # Shifted by two, so that no rule has both the marker of backprop and a solid line.
            _MARKERS[(i + 2) % len(_MARKERS)],
        )
        for i, rule in enumerate(others)
    }
    return {
        rule: replace(style, key=f"r{place}") for place, (rule, style) in enumerate(found.items())
    }
