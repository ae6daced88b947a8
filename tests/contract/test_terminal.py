"""What is printed is printed as it is: a word in brackets is no markup."""

import ast
from pathlib import Path

import pytest
from rich.progress import Progress

from beyondprop.jobs.progress import bar, bars

SOURCES = [
    path
    for folder in ("src/beyondprop", "benchmarks")
    for path in sorted((Path(__file__).parents[2] / folder).rglob("*.py"))
]
PRINTING = {"Console", "TextColumn"}


def called(node: ast.Call) -> list[ast.expr]:
    """Return what is called, also by functools.partial."""
    own = [node.func]
    return [*own, *node.args[:1]] if ast.unparse(node.func) == "partial" else own


def test_every_console_prints_words_in_brackets() -> None:
    made = [
        (path, node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and PRINTING & {ast.unparse(each) for each in called(node)}
    ]
    assert len(made) > 6
    for path, node in made:
        given = {each.arg: ast.unparse(each.value) for each in node.keywords}
        assert given.get("markup") == "False", f"{path.name}, line {node.lineno}"


def test_lines_beside_bars_keep_their_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    shown: Progress = bars()
    with shown, bar(shown, "dfa[seed=3]", 1):
        shown.console.print("pip install '.[report]'")
    assert ".[report]" in capsys.readouterr().err
