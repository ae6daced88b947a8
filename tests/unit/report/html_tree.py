"""A strict reader of HTML: it fails where tags are not balanced."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link", "col", "wbr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list["Element"] = field(default_factory=list)
    own_text: list[str] = field(default_factory=list)

    def all(self, tag: str = "", **attributes: str) -> list["Element"]:
        """Every descendant with this tag and these attributes; `class_` looks for one class."""
        found = []
        for child in self.children:
            if (not tag or child.tag == tag) and child.has(attributes):
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    def has(self, attributes: dict[str, str]) -> bool:
        for key, value in attributes.items():
            have = self.attributes.get(key.rstrip("_").replace("_", "-")) or ""
            if value not in (have.split() if key == "class_" else [have]):
                return False
        return True

    @property
    def text(self) -> str:
        """The text of the element and all within, white space made single."""
        return " ".join(" ".join(self.pieces()).split())

    def pieces(self) -> list[str]:
        if self.tag in {"style", "script"}:
            return []
        return self.own_text + [piece for child in self.children for piece in child.pieces()]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].own_text.append(data)


def read(page: str) -> Element:
    """The root of `page`; an assertion fails where tags are not balanced."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root], f"<{reader.open[-1].tag}> is never closed"
    return reader.root


def rows(table: Element) -> list[list[str]]:
    """The texts of the cells of `table`, row by row."""
    return [
        [cell.text for cell in row.children if cell.tag in {"td", "th"}] for row in table.all("tr")
    ]
