"""No figure in README and docs is written by hand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.records import RESULTS, ROOT
from benchmarks.comparisons import tables as comparisons
from benchmarks.pages import tables

PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("results/**/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_what_the_records_say(page: Path) -> None:
    text = page.read_text("utf-8")
    assert tables.filled(text) == text
    assert "PLACEHOLDER" not in text
    assert text.count("<!-- table ") == len(re.findall(r"<!-- table .+? -->\n", text))


def names() -> list[str]:
    """The tables of all pages, but for those of words: the index, calls and refusals."""
    found = {mark[1] for page in PAGES for mark in tables.MARK.findall(page.read_text("utf-8"))}
    words = ("records", "models calls", "models refused")
    return sorted(name for name in found if not name.startswith(words))


def changed(figures: Any) -> Any:
    """A record with other figures; whole numbers, which are sizes and counts, stay."""
    if isinstance(figures, dict):
        return {key: changed(value) for key, value in figures.items()}
    if isinstance(figures, list):
        return [changed(value) for value in figures]
    return figures * 1.1 + 0.01 if isinstance(figures, float) else figures


@pytest.mark.parametrize("name", names())
def test_a_changed_record_changes_its_table(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load, before = tables.load, tables.table(name)

    monkeypatch.setattr(tables, "load", lambda record: changed(load(record)))
    assert tables.table(name) != before


def test_every_record_of_figures_has_a_table_on_some_page() -> None:
    words = {"models calls", "models refused"}
    assert set(tables.MADE) - words <= {*names()}


def test_saved_errors_come_from_scores_as_recorded() -> None:
    assert comparisons.saved(0.99994, 0.99996) == pytest.approx(
        1 / 3
    )  # both are 99.99% or 100.00% as text
    assert comparisons.saved(0.5, 1.0) == 1
    assert comparisons.saved(0.9, 0.8) == pytest.approx(-1)
    assert comparisons.saved(1.0, 1.0) is None
    assert comparisons.saved(None, 1.0) is None


@pytest.mark.parametrize("rule", ["backprop", "dfa"])
def test_a_page_of_a_rule_shows_what_is_missing(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"frozen": 1.0, "dfa": None, "backprop": 1.0}
    rows = [
        {"rule": r, "score_mean": s, "recovery": None, "alignment": None} for r, s in scores.items()
    ]
    monkeypatch.setattr(tables, "load", lambda _: {"rows": rows})
    line = tables.rule(rule).splitlines()[2]
    middle = "" if rule == "backprop" else " – |"
    assert line.startswith(f"| digits-mlp | 100.00% |{middle} 100.00% | – |")


@pytest.mark.parametrize(
    "record",
    sorted(RESULTS.glob("**/*.json")),
    ids=lambda path: path.relative_to(RESULTS).as_posix(),
)
def test_records_are_complete(record: Path) -> None:
    content = json.loads(record.read_text("utf-8"))
    made = content["provenance"]
    assert made["command"]
    assert made["versions"]["torch"]
    assert made["hardware"]["cpu"]
    if content["kind"] == "comparison":
        rules = {row["rule"] for row in content["rows"]}
        # Where true gradients cannot train a network, the record's page says so.
        upper = set() if record.stem in ("cifar-softhebb", "mnist-softhebb") else {"backprop"}
        assert {"frozen"} | upper <= rules
        assert len(content["seeds"]) >= 3
        assert not made["commit"].endswith("-dirty")
