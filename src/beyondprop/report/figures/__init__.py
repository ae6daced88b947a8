"""The figures of a comparison: inline SVG with a caption, or a sentence why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from beyondprop.report.blocks import BlockTable


@dataclass(frozen=True)
class Exhibit:
    """One or more panels that show one thing, and what is told of every block.

    Attributes:
        title: The heading.
        caption: What is drawn and how to read it.
        panels: SVG texts; empty where there is nothing to draw.
        small: Whether the panels are small multiples, three side by side.
        wide: Whether each panel takes the whole width.
        keys: Of the rule that each panel shows, where it shows one alone.
        missing: Why there is nothing to draw.
        table: The figures of the blocks.
        words: Of which rules what was found, in words.
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
