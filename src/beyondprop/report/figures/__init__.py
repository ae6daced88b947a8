"""The figures of a comparison: inline SVG with a caption, or a reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.report.blocks import BlockTable


@dataclass(frozen=True)
class Exhibit:
    """One or more panels on one topic, with a table of the blocks.

    Attributes:
        title: The heading.
        caption: How to read the figure.
        panels: SVG texts; empty if there is nothing to draw.
        small: Whether the panels are small multiples, three side by side.
        wide: Whether each panel has the full width.
        keys: The rule's key of each panel, if each shows a single rule.
        missing: Why there is nothing to draw.
        table: The table of the blocks.
        words: Findings in words, with their rules.
    """

    title: str
    caption: str = ""
    panels: tuple[str, ...] = ()
    small: bool = False
    wide: bool = False
    keys: tuple[str, ...] = ()
    missing: str = ""
    table: BlockTable | None = None
    words: tuple[tuple[str, str], ...] = ()
