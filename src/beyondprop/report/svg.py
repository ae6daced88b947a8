"""Matplotlib figures as inline SVG that takes its font and colours from the page around it.

Text stays text, and colours become CSS variables. The figure's name is the prefix of ids, so that
they are unique in a page. The output does not depend on the time.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from beyondprop.report.style import VARIABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plain(text: str) -> str:
    """Return `text` without characters that XML does not allow."""
    return "".join(character for character in text if character.isprintable())


KEY = re.compile(r"r\d+")
"""Matches the keys of rules, which are the ids of a rule's lines and markers."""


@dataclass(frozen=True)
class Tip:
    """A tooltip of a point of a figure.

    Attributes:
        x: Pixels from the left.
        y: Pixels from the top.
        text: The text of the tooltip.
        key: The rule's key, or empty.
    """

    x: float
    y: float
    text: str
    key: str = ""


def tip_box(x: float, y: float, width: float, height: float, text: str) -> str:
    """Return an invisible rectangle of a figure, as SVG, with a tip.

    Args:
        x: Left edge, in pixels.
        y: Upper edge, in pixels.
        width: Width, in pixels.
        height: Height, in pixels.
        text: The tip.
    """
    return (
        f'<rect class="tip" data-tip="{escape(plain(text))}" x="{x:.1f}" y="{y:.1f}"'
        f' width="{width:.1f}" height="{height:.1f}" style="fill: transparent"></rect>'
    )


def inline(figure: Figure, name: str, label: str, tips: Sequence[Tip] = ()) -> str:
    """Return the SVG text of `figure` for an HTML page.

    Args:
        figure: A figure drawn under `page_style`, which must still be active.
        name: Prefix of the ids; unique in the page; letters, digits and hyphens.
        label: A description of the figure for screen readers.
        tips: Tooltips of its points.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    _strip(root)
    _rename(root, name)
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _page_value(key, value))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("width", root.get("viewBox", "").split()[2])
    root.set("role", "img")
    root.set("aria-label", plain(label))
    for tip in tips:
        place = {"cx": f"{tip.x:.1f}", "cy": f"{tip.y:.1f}", "r": "5"}
        told = {"class": "tip", "data-tip": plain(tip.text)}
        owner = {"data-rule": tip.key} if tip.key else {}
        ElementTree.SubElement(root, "circle", told | place | owner)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _strip(root: ElementTree.Element) -> None:
    """Remove the namespaces, which HTML implies, the metadata, and the global style sheet."""
    for parent in root.iter():
        parent.tag = parent.tag.partition("}")[2] or parent.tag
        parent.attrib = {k.partition("}")[2] or k: v for k, v in parent.attrib.items()}
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)


def _rename(root: ElementTree.Element, name: str) -> None:
    """Prefix the ids that are referenced, and remove the others; the keys of rules become
    `data-rule`."""
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in used:
            element.set("id", f"{name}-{old}")
        elif old is not None and KEY.fullmatch(old):
            element.set("data-rule", old)
        for key, value in element.attrib.items():
            value = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value)
            element.set(key, re.sub(r"^#", f"#{name}-", value) if key == "href" else value)


def _page_value(key: str, value: str) -> str:
    """Return an attribute with the page's colours and font, and coordinates rounded to 0.01
    pixels."""
    if key == "style":
        value = re.sub(r"#[0-9a-f]{6}", lambda match: VARIABLES.get(match[0], match[0]), value)
        return re.sub(r"(font:[^;']*?px) [^;]*", r"\1 var(--sans)", value)
    if key in {"d", "x", "y", "transform", "width", "height", "points"}:
        return re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", value)
    return value
