"""What a page tells of a rule: its full name, what it does, its page and its papers.

`rules.json` is written by `python docs/generate.py` from the pages in docs/rules/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, metadata
from importlib.resources import files
from typing import Any

from beyondprop.registry import first_line
from beyondprop.report.records import CONTROLS, LINEAR, Run
from beyondprop.report.style import Style
from beyondprop.report.text import label
from beyondprop.rules import RULES

LINEAR_DOES = "A linear model on the inputs, solved to convergence (lower control)."
FOLDER = "docs/"
"""Where a documentation site has the guides."""


@dataclass(frozen=True)
class Paper:
    """A source: how it is cited, its title and its address, empty where none is known."""

    cited: str
    title: str
    address: str


@dataclass(frozen=True)
class About:
    """What is told of a rule.

    Attributes:
        name: As tables have it.
        title: The full name; the name itself of a rule that the library does not know.
        does: One sentence; empty where nothing is known.
        page: The name of its page in the documentation, without an ending; empty where none is.
        papers: Its sources.
    """

    name: str
    title: str
    does: str = ""
    page: str = ""
    papers: tuple[Paper, ...] = ()


@dataclass(frozen=True)
class Known:
    """A rule of a page: as records name it, what is told of it, and how it is drawn."""

    rule: str
    about: About
    style: Style

    @property
    def control(self) -> bool:
        """Whether it is a control."""
        return self.rule in CONTROLS


def known(drawn: Mapping[str, Style], runs: Iterable[Run] = ()) -> list[Known]:
    """Return the rules of a page, which shows these runs."""
    told = abouts(drawn, runs)
    return [Known(rule, told[rule], style) for rule, style in drawn.items()]


def abouts(rules: Iterable[str], runs: Iterable[Run] = ()) -> dict[str, About]:
    """Return what is told of rules; of a reader's own, what the records of its runs say."""
    own = {run.rule: run for run in runs}
    return {rule: about(rule, own.get(rule)) for rule in rules}


def keys(drawn: Mapping[str, Style]) -> dict[str, str]:
    """Return the keys of rules by the names that tables have."""
    return {label(rule): style.key for rule, style in drawn.items()}


def about(rule: str, run: Run | None = None) -> About:
    """Return what is told of a rule, with arguments or without.

    No code of a reader's own rule is run for a page: a run of it says what there is to tell.
    """
    name = rule.partition("(")[0]
    if name == LINEAR:
        return About(label(rule), "Linear model", LINEAR_DOES)
    if name not in RULES:
        called, does = (run.called, run.does) if run else ("", "")
        return About(label(rule), called or label(rule), does)
    kind = type(RULES[name])
    found = pages_of_rules()[kind.__name__]
    papers = tuple(Paper(**each) for each in found["papers"])
    return About(label(rule), found["title"], first_line(kind), found["page"], papers)


@lru_cache(maxsize=1)
def pages_of_rules() -> Mapping[str, Any]:
    """Return what is known of rules, by the names of their classes."""
    text = files("beyondprop.report").joinpath("rules.json").read_text("utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def documentation() -> str:
    """Return the address of the guides that the installed package names; nothing where it names
    none.
    """
    try:
        urls = metadata("beyondprop").get_all("Project-URL") or []
    except PackageNotFoundError:  # a source tree that is not installed
        return ""
    named = dict(url.split(", ", 1) for url in urls)
    base = named.get("Documentation", "")
    return f"{base.rstrip('/')}/{FOLDER}" if base else ""
