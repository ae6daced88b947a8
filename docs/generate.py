"""Write the tables of rules in docs/choosing.md and docs/index.md: `python docs/generate.py`.

A rule's row is made of its entry in the registry, the first line of its docstring, and the table at
the head of its page in docs/rules/, which is named after its class.
"""

import re
from pathlib import Path

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


def main() -> None:
    """Write the tables anew."""
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(name, page.read_text("utf-8")), "utf-8")


def filled(name: str, text: str) -> str:
    """Return the text of docs/choosing.md or docs/index.md with its table of rules made anew."""
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
