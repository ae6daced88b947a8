"""No figure in README and docs is written by hand."""

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.audit import tables as audits
from benchmarks.common.records import RESULTS, ROOT, load
from benchmarks.comparisons.published import STUDIES
from benchmarks.modalities.tables import NOTHING
from benchmarks.pages import tables
from beyondprop.experiment.tuning import at_edges

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
    """The tables of all pages, but for those of words and those of no record of ours."""
    found = {mark[1] for page in PAGES for mark in tables.MARK.findall(page.read_text("utf-8"))}
    words = (
        *("records", "models calls", "models refused", "published", "by-optimizer"),
        "below-frozen",
    )
    own = sorted(name for name in found if not name.startswith(words))
    later = ("modalities", "audit")  # whose pages are there before all of their records
    missing = (NOTHING, audits.NOTHING)
    return [n for n in own if not n.startswith(later) or tables.table(n) not in missing]


LARGER = "shakespeare-6x256"
"""A comparison of one seed."""


def changed(figures: Any) -> Any:
    """A record with other figures; whole numbers, which are sizes and counts, stay."""
    if isinstance(figures, dict):
        return {key: changed(value) for key, value in figures.items()}
    if isinstance(figures, list):
        return [changed(value) for value in figures]
    if not isinstance(figures, float):
        return figures
    return figures * 0.5 + 0.01 if 0 <= figures <= 1 else figures * 1.5 + 0.01  # shares stay shares


@cache
def with_other_figures(name: str) -> dict[str, Any]:
    """A record with other figures, made once: rules' pages read all comparisons."""
    found: dict[str, Any] = changed(load(name))
    return found


def later(name: str) -> dict[str, Any]:
    """A record that took longer."""
    found = copy.deepcopy(load(name))
    found["provenance"]["finished"] = "2100-01-01T00:00:00+00:00"
    return found


@pytest.mark.parametrize("name", names())
def test_a_changed_record_changes_its_table(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables.table(name)
    if name == f"verdict {LARGER}":
        assert "no difference can be tested" in before
        return
    monkeypatch.setattr(
        tables, "load", later if name.startswith("audit-time") else with_other_figures
    )
    assert tables.table(name) != before


def test_every_record_of_figures_has_a_table_on_some_page() -> None:
    words = {"models calls", "models refused"}
    assert set(tables.MADE) - words <= {*names()}


COMPARISONS = sorted(path.stem for path in RESULTS.glob("comparisons/*.json"))


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_has_its_finding_before_its_table_on_their_page(name: str) -> None:
    text = (RESULTS / "comparisons" / "README.md").read_text("utf-8")
    place = [text.find(f"<!-- table {kind} {name} -->") for kind in ("verdict", "compare")]
    assert 0 < place[0] < place[1]


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_rate_at_an_edge_is_shown_in_its_row(name: str) -> None:
    record = tables.comparison(name)
    rows = dict.fromkeys(line.split(" | ")[0] for line in tables.compare(name).splitlines())
    for rule in at_edges(record["tuning"]):
        assert f"| {rule} †" in rows


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_table_of_a_comparison_is_without_its_finding(page: Path) -> None:
    marks = tables.MARK.findall(page.read_text("utf-8"))
    found = [mark[1] for mark in marks]
    for place, name in enumerate(found):
        if name.startswith("compare "):
            assert found[place - 1] == name.replace("compare", "verdict")


def test_what_others_have_published_is_on_some_page() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert all(f"<!-- table published {name} -->" in text for name in STUDIES)


def test_optimizers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    record = copy.deepcopy(tables.comparison("fashion-small"))
    for place, trial in enumerate(record["tuning"]["trials"]):
        trial["optimizer"] = ("sgd", "adam")[place % 2]
    monkeypatch.setattr(tables, "load", lambda _: record)
    monkeypatch.setattr(tables, "recorded", lambda: ["a", "a-sgd", "a-adam"])
    said = tables.by_optimizer("a")
    assert said.startswith("Best validation score of each rule's longest trials with ")
    assert "| rule | sgd, test | recovery | adam, test | recovery |" in said


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
        # A factorisation machine has no hidden layers that could be frozen.
        lower = {"linear"} if record.stem == "movielens-fm" else {"frozen"}
        assert lower | upper <= rules
        # The page says that one run of a larger decoder tells no rules apart.
        assert len(content["seeds"]) >= 3 or record.stem == LARGER
        assert not made["commit"].endswith("-dirty")
