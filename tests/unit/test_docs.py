"""README and docs say what is true: their code runs, their commands parse, their links lead."""

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from beyondprop.cli import app as cli
from beyondprop.rules import RULES, Rule

ROOT = Path(__file__).parents[2]
GLOBS = ("benchmarks/README.md", "results/**/README.md", "docs/**/*.md")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for glob in GLOBS for page in sorted(ROOT.glob(glob))),
]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language; one marked ``no-run`` is none of them."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M)


def write_named(blocks: list[str], folder: Path) -> None:
    """Write the blocks whose first line is a comment with a file's name."""
    for block in blocks:
        if named := re.match(r"# ([\w-]+\.\w+)\n", block):
            (folder / named[1]).write_text(block)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; modules imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    for module in tmp_path.glob("*.py"):
        sys.modules.pop(module.stem, None)


def test_the_marks_are_known() -> None:
    marks = {
        mark for page in PAGES for mark in re.findall(r"^```(\S.*)$", page.read_text("utf-8"), re.M)
    }
    assert marks <= {"python", "python no-run", "bash", "yaml", "text"}


@pages
@pytest.mark.usefixtures("folder")
def test_python_blocks_run(page: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python"), 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), namespace)


@pages
def test_commands_parse(page: Path, folder: Path) -> None:
    write_named(blocks(page, "yaml"), folder)
    (folder / "results").symlink_to(ROOT / "results")
    for line in "".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "beyondprop":
            cli.parsed(words[1:])


def test_commands_of_the_makefile_parse() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"-m beyondprop (.*)$", makefile, re.M)
    assert commands
    for command in commands:
        cli.parsed(shlex.split(command))


def test_the_own_task_is_found_and_can_be_taught(folder: Path) -> None:
    page = ROOT / "docs/own-task.md"
    write_named(blocks(page, "python"), folder)
    checks = [line for line in "".join(blocks(page, "bash")).splitlines() if " check " in line]
    assert checks
    for line in checks:
        assert cli.main(shlex.split(line)[1:]) == 0


def test_the_own_table_is_found_and_can_be_taught(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs/own-data.md"
    write_named(blocks(page, "python"), folder)
    check, *compared = "".join(blocks(page, "bash")).splitlines()
    assert cli.main(shlex.split(check)[1:]) == 0
    assert blocks(page, "text")[0] in capsys.readouterr().out
    few = ["--rules", "dfa", "--seeds", "0", "--learning_rates", "0.003", "--measure_cost", "false"]
    for number, line in enumerate(compared):
        assert cli.main([*shlex.split(line)[1:], *few, "--output", f"run-{number}"]) == 0


def test_ones_own_rule_projection_measure_and_task_work_in_every_command(folder: Path) -> None:
    page = ROOT / "docs/extending.md"
    for language in ("python", "yaml"):
        write_named(blocks(page, language), folder)
    commands = "".join(blocks(page, "bash")).splitlines()
    assert {shlex.split(line)[1] for line in commands} == {
        "list", "check", "train", "compare", "report",
    }  # fmt: skip
    for line in commands:
        words = shlex.split(line)[1:]
        output = ["--output", f"run-{commands.index(line)}"] if "--config" in words else []
        assert cli.main([*words, *output]) == 0, line
    for made in ("runs/ring", output[1]):
        found = (folder / made / "report.html").read_text("utf-8")
        assert "my_ideas:SignFeedback" in found
    assert "Weight norm" in found
    assert "my_ideas:SignFeedback(projection=my_ideas:Cosines(frequency=3.0))" in found


def slugs(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"\w+://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in slugs(linked), target


@pages
def test_inline_code_is_closed(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.S | re.M)
    parts = re.split(r"\n\s*\n|(?=^\|)", text, flags=re.M)  # paragraphs, and rows of tables
    assert not [part for part in parts if part.count("`") % 2]


@pages
def test_no_place_is_left_to_fill_in(page: Path) -> None:
    left = re.findall(r"^[A-Z]{4,}$|\b(?:TODO|FIXME|TBD)\b", page.read_text("utf-8"), re.M)
    assert not left


def test_the_readme_is_short_and_begins_with_a_picture_and_code() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= 900
    first = text.splitlines()[:20]
    assert any(line.startswith("![") for line in first)
    assert any(line.startswith("```python") for line in first)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script that writes the tables of rules."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_rules_are_up_to_date(generate: ModuleType) -> None:
    for name in generate.PAGES:
        text = (ROOT / name).read_text("utf-8")
        assert text == generate.filled(name, text), "run: python docs/generate.py"
        for rule in RULES:
            assert re.search(rf"^\|.*`{rule}`", text, re.M)


def test_what_reports_know_of_rules_is_up_to_date(generate: ModuleType) -> None:
    assert generate.KNOWN.read_text("utf-8") == generate.known(), "run: python docs/generate.py"


def test_a_rule_without_a_page_is_told_what_it_lacks(generate: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"NoRule has no page: write docs/rules/no-rule\.md"):
        generate.facts("NoRule")


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_has_a_page(rule: Rule, generate: ModuleType) -> None:
    called = type(rule).__name__
    page = (ROOT / "docs/rules" / generate.page_of(called)).read_text("utf-8")
    assert f"bp.{called}(" in page
    assert len(generate.facts(called)) == len(generate.HEAD)
