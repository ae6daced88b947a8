"""Write the tables of rules in docs/choosing.md and docs/index.md, and what reports know of rules:
`python docs/generate.py`.

A rule's row is made of its entry in the registry, the first line of its docstring, and the table at
the head of its page in docs/rules/, which is named after its class. Reports get the page's name and
title, and the papers that its sources name, as CITATION.cff has them.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from beyondprop.registry import first_line
from beyondprop.rules import RULES

ROOT = Path(__file__).parents[1]
PAGES = ("docs/choosing.md", "docs/index.md")
BLOCK = re.compile(r"(<!-- rules -->\n).*?(<!-- end -->)", re.S)
HEAD = (
    "source",
    "weights in the backward pass",
    "output error in hidden blocks",
    "blocks wait in the backward pass",
    "multiply-adds of a step",
)
"""The columns of the table at the head of every rule's page."""

KNOWN = ROOT / "src/beyondprop/report/rules.json"
"""What reports know of rules, by their classes."""
SOURCES = re.compile(r"^Sources?: .*?(?=\n\n)", re.S | re.M)
TITLE = re.compile(r"\*([^*]+)\*")


def main() -> None:
    """Write the tables and what reports know again."""
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(name, page.read_text("utf-8")), "utf-8")
    KNOWN.write_text(known(), "utf-8")


def known() -> str:
    """Return the text of what reports know of rules: by class the page, its title and papers."""
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["references"]
    by_title = {plain(each["title"]): each for each in references}
    found = {called: known_of(called, by_title) for called in classes()}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def known_of(called: str, references: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a rule's page, the page's title, and the papers that its sources name.

    Args:
        called: The rule's class.
        references: Those of CITATION.cff, by their plain titles.
    """
    page = page_of(called)
    text = (ROOT / "docs/rules" / page).read_text("utf-8")
    told = SOURCES.search(text)
    named = [references.get(plain(title)) for title in TITLE.findall(told[0] if told else "")]
    title = text.partition("\n")[0].strip("# ")
    return {
        "title": re.sub(r" \(\w+\)$|: the .* control$", "", title),
        "page": page.removesuffix(".md"),
        "papers": [paper(each) for each in named if each],
    }


def paper(reference: dict[str, Any]) -> dict[str, str]:
    """Return how a paper is cited, its title and its address; no address where none is known."""
    names = [each["family-names"] for each in reference["authors"]]
    cited = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
    address = f"https://doi.org/{reference['doi']}" if "doi" in reference else reference.get("url")
    return {
        "cited": f"{cited} {reference['year']}",
        "title": reference["title"],
        "address": address or "",
    }


def plain(title: str) -> str:
    """Return a title without what differs between pages: case and line breaks."""
    return " ".join(title.lower().split())


def filled(name: str, text: str) -> str:
    """Return the text of docs/choosing.md or docs/index.md with its table of rules made again."""
    rows = what_they_do() if name == "docs/choosing.md" else what_they_need()
    made = "\n".join(["| " + " | ".join(row) + " |" for row in rows])
    return BLOCK.sub(lambda found: f"{found[1]}\n{made}\n\n{found[2]}", text)


def what_they_do() -> list[tuple[str, ...]]:
    """Return the rows of docs/choosing.md's table."""
    rows = [("rule", "on the command line", "what it does", "source"), ("---",) * 4]
    for called, names in classes().items():
        link = f"[`{called}`](rules/{page_of(called)})"
        rows.append((link, code(names), first_line(type(RULES[names[0]])), facts(called)[0]))
    return rows


def what_they_need() -> list[tuple[str, ...]]:
    """Return the rows of docs/index.md's table."""
    rows = [("rule", "page", *HEAD[1:]), ("---",) * (1 + len(HEAD))]
    for called, names in classes().items():
        page = page_of(called)
        title = (ROOT / "docs/rules" / page).read_text("utf-8").partition("\n")[0].strip("# ")
        rows.append((code(names), f"[{title}](rules/{page})", *facts(called)[1:]))
    return rows


def classes() -> dict[str, list[str]]:
    """Return the short names of the rules of each class, in the registry's order."""
    found: dict[str, list[str]] = {}
    for name, rule in RULES.items():
        found.setdefault(type(rule).__name__, []).append(name)
    return found


def page_of(called: str) -> str:
    """Return the name of a class's page: DirectKolenPollack has direct-kolen-pollack.md."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", called).lower() + ".md"


def facts(called: str) -> list[str]:
    """Return the row under `HEAD` at the head of a rule's page.

    Raises:
        SystemExit: There is no page, or no such table on it.
    """
    page = ROOT / "docs/rules" / page_of(called)
    if not page.exists():
        raise SystemExit(f"{called} has no page: write {page.relative_to(ROOT)}")
    lines = page.read_text("utf-8").splitlines()
    head = "| " + " | ".join(HEAD) + " |"
    if head not in lines:
        raise SystemExit(f"{page.relative_to(ROOT)} lacks the table that begins with {head}")
    row = lines[lines.index(head) + 2]
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def code(names: list[str]) -> str:
    """Return names as code."""
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    main()
