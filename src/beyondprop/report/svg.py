"""Matplotlib figures as inline SVG that takes its font and colours from the page around it.

Text stays text, colours become CSS variables, ids are prefixed by the figure's name so that no
two figures of a page share one, and nothing depends on the clock.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from beyondprop.report.style import VARIABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plain(text: str) -> str:
    """`text` without characters that XML cannot hold."""
    return "".join(character for character in text if character.isprintable())


KEY = re.compile(r"r\d+")
"""The keys of rules, which drawn things of a rule have as their ids."""


@dataclass(frozen=True)
class Tip:
    """What is told of a point of a figure.

    Attributes:
        x: Pixels from the left.
        y: Pixels from the top.
        text: The words.
        key: The rule's, or nothing.
    """

    x: float
    y: float
    text: str
    key: str = ""


def inline(figure: Figure, name: str, label: str, tips: Sequence[Tip] = ()) -> str:
    """Return the SVG text of `figure`, to stand in an HTML page.

    Args:
        figure: Drawn under `page_style`, which must still hold.
        name: Prefix of the ids; unique in the page, letters, digits and hyphens.
        label: What the figure shows, for those who cannot see it.
        tips: What is told of its points.
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
    """Drop the namespaces, which HTML implies, the metadata, and the global style sheet."""
    for parent in root.iter():
        parent.tag = parent.tag.partition("}")[2] or parent.tag
        parent.attrib = {k.partition("}")[2] or k: v for k, v in parent.attrib.items()}
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)


def _rename(root: ElementTree.Element, name: str) -> None:
    """Prefix the ids that something refers to, and drop the others; the keys of rules are kept as
    such.
    """
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
    """Return an attribute with the page's colours and font, and coordinates to a hundredth of a
    pixel.
    """
    if key == "style":
        value = re.sub(r"#[0-9a-f]{6}", lambda match: VARIABLES.get(match[0], match[0]), value)
        return re.sub(r"(font:[^;']*?px) [^;]*", r"\1 var(--sans)", value)
    if key in {"d", "x", "y", "transform", "width", "height", "points"}:
        return re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", value)
    return value
