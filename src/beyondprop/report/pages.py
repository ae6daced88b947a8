"""The templates of the pages and their script."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from beyondprop.errors import UserError, install

if TYPE_CHECKING:
    from jinja2 import Environment

HEADING = re.compile(r'<section id="([^"]+)">\s*<h2>(.*?)</h2>')


@dataclass(frozen=True)
class Script:
    """The script of a page, and the policy that allows only this script."""

    text: str

    @property
    def policy(self) -> str:
        """The content security policy: images in the page, its styles, and this script."""
        digest = base64.b64encode(hashlib.sha256(self.text.encode()).digest()).decode()
        parts = (
            "default-src 'none'",
            "img-src data: blob:",
            "style-src 'unsafe-inline'",
            f"script-src 'sha256-{digest}'",
        )
        return "; ".join(parts)


def script() -> Script:
    """Return the script of every page."""
    folder = files("beyondprop.report").joinpath("templates")
    return Script(folder.joinpath("page.js").read_text("utf-8"))


def environment() -> Environment:
    """Return the template environment; text is escaped, and a missing value is an error.

    Raises:
        UserError: The `report` extra is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise UserError(f"the report needs jinja2: {install('report')}") from error
    made = Environment(
        loader=PackageLoader("beyondprop.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["headings"] = headings
    made.globals["script"] = script()
    return made


def headings(body: str) -> list[tuple[str, str]]:
    """Return the ids and the titles of the sections in a part of a page, for the contents."""
    from markupsafe import Markup  # jinja2's own

    return [(name, Markup(title)) for name, title in HEADING.findall(str(body))]
