import json
from pathlib import Path

import pytest

from benchmarks.audit import minima, tables


def test_a_short_run_leaves_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minima, "WAYS", ("backprop", "ff"))
    short = {"starts": 1, "steps": 2, "tuning": 1, "runs": tmp_path / "runs"}
    minima.main(**short, output=tmp_path / "minima.json")
    record = json.loads((tmp_path / "minima.json").read_text())
    rows = record["rows"]
    assert [row["way"] for row in rows] == ["backprop", "ff", minima.CHOSEN] * 2
    assert all(len(row["losses"]) == 1 for row in rows if row["way"] != "ff")
    assert all(row["refused"] for row in rows if row["way"] == "ff")
    assert record["spec"]["steps"] == 2
    text = (tmp_path / "minima.md").read_text()
    assert "| teacher and student | ff | refused |" in text
    assert rows[1]["refused"] in text


def test_the_table_marks_a_rate_at_an_end_and_counts_a_run_that_diverged() -> None:
    row = {
        "problem": "p",
        "way": "dfa",
        "losses": [None, 0.001, 0.02],
        "share": 1 / 3,
        "interval": [0.06, 0.79],
        "rate": 0.1,
        "edge": True,
    }
    _, (line,) = tables.minima([row])
    assert line == ["p", "dfa", "33% [6%, 79%]", "2.0e-02", "1.0e-03", "0.1 †"]
