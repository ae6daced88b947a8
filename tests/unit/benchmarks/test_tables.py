"""No figure in README and docs is written by hand."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHANGED = (
    "score_mean",
    "ratio",
    "resident_ratio",
    "memory_ratio",
    "test_accuracy",
    "final_mean",
    "test",
)
PAGES = [ROOT / "README.md", ROOT / "results/README.md", *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_what_the_records_say(page: Path) -> None:
    from tables import filled

    text = page.read_text("utf-8")
    assert filled(text) == text
    assert "PLACEHOLDER" not in text
    assert text.count("<!-- table ") == len(re.findall(r"<!-- table .+? -->\n", text))


def test_a_changed_record_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    import tables

    text = (ROOT / "results/README.md").read_text("utf-8")
    load = tables.load

    def changed(name: str) -> dict[str, object]:
        record = load(name)
        for row in record["rows"]:
            for key in CHANGED:
                row[key] = row[key] + 0.01 if row.get(key) is not None else None
        return record

    monkeypatch.setattr(tables, "load", changed)
    found = tables.MARK.findall(text)
    assert len(found) == len(tables.MARK.findall(tables.filled(text))) > 3
    for name in (mark[1] for mark in found):
        monkeypatch.setattr(tables, "load", load)
        before = tables.table(name)
        monkeypatch.setattr(tables, "load", changed)
        assert tables.table(name) != before


def test_saved_errors_come_from_scores_as_recorded() -> None:
    from tables import saved

    assert saved(0.99994, 0.99996) == pytest.approx(1 / 3)  # both are 99.99% or 100.00% as text
    assert saved(0.5, 1.0) == 1
    assert saved(0.9, 0.8) == pytest.approx(-1)
    assert saved(1.0, 1.0) is None
    assert saved(None, 1.0) is None


@pytest.mark.parametrize("rule", ["backprop", "dfa"])
def test_a_page_of_a_rule_shows_what_is_missing(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import tables

    scores = {"frozen": 1.0, "dfa": None, "backprop": 1.0}
    rows = [
        {"rule": r, "score_mean": s, "recovery": None, "alignment": None} for r, s in scores.items()
    ]
    monkeypatch.setattr(tables, "load", lambda _: {"rows": rows})
    line = tables.rule(rule).splitlines()[2]
    middle = "" if rule == "backprop" else " – |"
    assert line.startswith(f"| digits-mlp | 100.00% |{middle} 100.00% | – |")


@pytest.mark.parametrize("record", sorted(ROOT.glob("results/*.json")), ids=lambda path: path.name)
def test_records_are_complete(record: Path) -> None:
    content = json.loads(record.read_text("utf-8"))
    made = content["provenance"]
    assert made["command"]
    assert made["versions"]["torch"]
    assert made["hardware"]["cpu"]
    if content["kind"] == "comparison":
        rules = {row["rule"] for row in content["rows"]}
        assert {"backprop", "frozen"} <= rules
        assert len(content["seeds"]) >= 3
        assert not made["commit"].endswith("-dirty")
