"""The leaderboard: every rule of every comparison, with a command that makes its row again."""

import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks.common.records import RESULTS, ROOT, load
from benchmarks.pages import leaderboard
from beyondprop.cli import app as cli
from beyondprop.cli.parser import with_lists
from tests.browser import browser, needs_chromium

NAMES = ("digits-mlp", "cora-gcn", "digits-softhebb")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Show a few records, since all take half a minute to read."""
    folder = tmp_path / "comparisons"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.json").touch()
    monkeypatch.setattr(leaderboard, "RESULTS", tmp_path)
    leaderboard.rows.cache_clear()


def test_every_rule_of_every_comparison_has_a_row() -> None:
    wanted = {(name, row["rule"]) for name in NAMES for row in load(f"comparisons/{name}")["rows"]}
    assert {(row.record, row.rule) for row in leaderboard.rows()} == wanted


def test_figures_are_those_of_the_record() -> None:
    (dfa,) = [r for r in leaderboard.rows() if (r.record, r.rule) == ("digits-mlp", "dfa")]
    (kept,) = [row for row in load("comparisons/digits-mlp")["rows"] if row["rule"] == "dfa"]
    assert dfa.score == f"{100 * kept['score_mean']:.1f}%"
    assert dfa.step == f"{kept['step_ratio']:.2f}×"
    assert dfa.recovery == f"{kept['recovery']:.0%}".replace("-", "−")
    assert dfa.between.count("%") == 2
    low, high = kept["recovery_interval"]
    assert dfa.stands == ("above" if low > 0 else "below" if high < 0 else "not significant")


def test_every_command_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for row in leaderboard.rows():
        words = shlex.split(row.command)
        cli.parser().parse_args(with_lists(words[1:]))
        assert (RESULTS / f"comparisons/{row.record}.yaml").exists()


class Reader(HTMLParser):
    """Keeps every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_it_is_one_file_and_a_part_of_the_site(tmp_path: Path) -> None:
    file = tmp_path / "made" / "board.html"
    leaderboard.main(str(file))
    page = file.read_text("utf-8")
    part = leaderboard.embedded(docs="./", settings="../results/comparisons/")
    assert page.lstrip().startswith("<!doctype html>")
    assert "<!doctype" not in part
    assert 'href="./rules/direct-feedback-alignment.html"' in part
    assert 'href="../results/comparisons/digits-mlp.yaml"' in part
    for text in (page, part):
        reader = Reader()
        reader.feed(text)
        rows = [of for tag, of in reader.tags if tag == "tr" and "data-task" in of]
        assert len(rows) == len(leaderboard.rows())
        (form,) = [of for tag, of in reader.tags if tag == "form"]
        assert form["data-table"] == "board"
        assert not [name for _, of in reader.tags for name in of if name.startswith("on")]


HOOKS = """
window.all = (selector) => [...document.querySelectorAll(selector)];
window.shown = () => all("#board tbody tr").filter((row) => !row.hidden);
"""
LISTS = ("task", "method", "stands")


@needs_chromium
@pytest.mark.foreign
def test_filters_search_and_sorting_work_by_keys_alone(tmp_path: Path) -> None:
    file = tmp_path / "board.html"
    leaderboard.main(str(file))
    found = leaderboard.rows()
    with browser(tmp_path / "browser") as page:
        page.open(file)
        page.told(HOOKS)
        every = f"{len(found)} of {len(found)} rows"
        assert page.told('document.querySelector("output").textContent') == every
        for name, of in zip(LISTS, ("task", "rule", "stands"), strict=True):
            page.focus(f'document.querySelector("select[name={name}]")')
            page.press("ArrowDown")
            chosen = page.told("document.activeElement.value")
            wanted = sum(getattr(row, of) == chosen for row in found)
            assert page.told("shown().length") == wanted > 0, name
            page.press("ArrowUp")
            assert page.told("shown().length") == len(found)
        page.focus('document.querySelector("input[type=search]")')
        page.press(*"CORA gcn")
        names = page.told("shown().map((row) => row.dataset.method)")
        wanted = [row.rule for row in found if row.record == "cora-gcn"]
        assert names == wanted
        page.focus('document.querySelector("button[type=reset]")')
        page.press("Enter")
        page.told("new Promise((then) => setTimeout(then, 50))")  # it is reset after the event
        assert page.told("shown().length") == len(found)
        page.focus('all("#board .sort")[2]')
        page.press("Enter")
        scores = page.told("shown().map((row) => parseFloat(row.cells[2].textContent))")
        known = [score for score in scores if score is not None]
        assert known == sorted(known, reverse=True)
        page.press("Enter")
        scores = page.told("shown().map((row) => parseFloat(row.cells[2].textContent))")
        assert [score for score in scores if score is not None] == sorted(known)


@needs_chromium
@pytest.mark.foreign
def test_it_is_read_whole_and_reached_by_tab(tmp_path: Path) -> None:
    file = tmp_path / "board.html"
    leaderboard.main(str(file))
    with browser(tmp_path / "browser") as page:
        assert page.faults(file) == {}
        page.open(file)
        assert page.unreached() == {}
