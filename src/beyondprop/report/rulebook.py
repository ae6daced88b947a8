"""The description of a rule on a page: its full name, what it does, its page and its papers.

`rules.json` is written by `python docs/generate.py` from the pages in docs/rules/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, metadata
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from beyondprop.errors import UserError, check_type, shown
from beyondprop.registry import first_line
from beyondprop.report.records import CONTROLS, LINEAR, Run
from beyondprop.report.style import Style
from beyondprop.report.text import is_shortened, label
from beyondprop.rules import RULES

LINEAR_DOES = "A linear model on the inputs, solved to convergence (lower control)."
ADDRESS = re.compile(r"[^\s\"'<>`\\^{|}\x00-\x20\x7f]*")
"""Matches text without characters that an address must encode."""
FOLDER = "docs/"
"""The folder of the guides on a documentation site."""


@dataclass(frozen=True)
class Paper:
    """A source: its citation, its title and its address, which is empty if unknown."""

    cited: str
    title: str
    address: str


@dataclass(frozen=True)
class About:
    """The description of a rule.

    Attributes:
        name: The name in tables.
        title: The full name; for a rule that the library does not know, the name in its records.
        does: What it does, in one sentence; empty if unknown.
        page: The name of its page in the documentation, without a suffix; empty if there is none.
        papers: Its sources.
        path: Its whole name as records have it, where a page shows it without its module.
    """

    name: str
    title: str
    does: str = ""
    page: str = ""
    papers: tuple[Paper, ...] = ()
    path: str = ""

    @property
    def titled(self) -> bool:
        """Whether the full name adds something to the name in tables."""
        if self.path:
            return self.title != self.name
        return self.title.lower() != self.name.lower()


@dataclass(frozen=True)
class Known:
    """A rule of a page: its name in records, its description, and its style."""

    rule: str
    about: About
    style: Style

    @property
    def control(self) -> bool:
        """Whether it is a control."""
        return self.rule in CONTROLS


def known(drawn: Mapping[str, Style], runs: Iterable[Run] = ()) -> list[Known]:
    """Return the rules of a page with these runs."""
    told = abouts(drawn, runs)
    return [Known(rule, told[rule], style) for rule, style in drawn.items()]


def abouts(rules: Iterable[str], runs: Iterable[Run] = ()) -> dict[str, About]:
    """Return the descriptions of rules; those of a user's own rules come from their runs."""
    own = {run.rule: run for run in runs}
    return {rule: about(rule, own.get(rule)) for rule in rules}


def keys(drawn: Mapping[str, Style]) -> dict[str, str]:
    """Return the keys of rules by their names in tables."""
    return {label(rule): style.key for rule, style in drawn.items()}


def about(rule: str, run: Run | None = None) -> About:
    """Return the description of a rule, named with or without arguments.

    A page runs no code of a user's own rule; the description comes from a run's record.
    """
    name, path = rule.partition("(")[0], rule if is_shortened(rule) else ""
    if name == LINEAR:
        return About(label(rule), "Linear model", LINEAR_DOES)
    if name not in RULES:
        called, does = (run.called, run.does) if run else ("", "")
        return About(label(rule), called or label(rule), does, path=path)
    kind = type(RULES[name])
    found = pages_of_rules()[kind.__name__]
    papers = tuple(Paper(**each) for each in found["papers"])
    return About(label(rule), found["title"], first_line(kind), found["page"], papers, path)


@lru_cache(maxsize=1)
def pages_of_rules() -> Mapping[str, Any]:
    """Return the titles, pages and papers of rules by the names of their classes."""
    text = files("beyondprop.report").joinpath("rules.json").read_text("utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def documentation() -> str:
    """Return the address of the guides in the installed package's metadata; empty if there is
    none."""
    try:
        urls = metadata("beyondprop").get_all("Project-URL") or []
    except PackageNotFoundError:  # a source tree that is not installed
        return ""
    named = dict(url.split(", ", 1) for url in urls)
    base = named.get("Documentation", "")
    return f"{base.rstrip('/')}/{FOLDER}" if base else ""


def check_address(docs: str) -> None:
    """Check that links can start with an address: of a site, of files, or relative to the page.

    Raises:
        UserError: It has another scheme, such as ``javascript:``, or is no address.
    """
    check_type("docs", docs, str, "an address, such as 'https://example.org/docs/'")
    try:
        found = urlsplit(docs)
        scheme, valid = found.scheme, ADDRESS.fullmatch(docs) is not None
        valid &= bool(found.hostname) or scheme not in ("http", "https")
    except ValueError:  # for example a bracket that is not closed
        scheme, valid = "", False
    if not valid or scheme not in ("", "http", "https", "file"):
        raise UserError(
            f"docs={shown(docs)} must be an address with http, https or file, or a relative one, "
            "such as https://example.org/docs/"
        )
