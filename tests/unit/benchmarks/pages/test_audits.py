"""What pages say of audits, from synthetic records, or from none."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.audit import tables as audits
from benchmarks.audit.tables import NOTHING
from benchmarks.common.records import ROOT
from benchmarks.pages import tables


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One audit, ``a``, in a folder of results that is otherwise empty."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "unit" / "report")  # type: ignore[no-untyped-call]
    record = importlib.import_module("audit_records").audit(sections=("calibration", "fairness"))
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "a.json").write_text(json.dumps(record))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(
        tables, "load", lambda name: json.loads((tmp_path / f"{name}.json").read_text())
    )


@pytest.mark.usefixtures("recorded")
def test_every_question_has_its_finding_and_its_figures() -> None:
    lines = tables.table("audit-answers a").splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("- **Which groups does it treat worse?** ")
    whole = tables.table("audited a")
    for line in lines:
        assert line.removeprefix("- ") in whole
    assert whole.count("| rule | Test accuracy |") == 2
    assert "| DFA | " in whole


@pytest.mark.usefixtures("recorded")
def test_an_audit_that_is_not_recorded_is_said_to_be_none() -> None:
    assert tables.table("audited b") == tables.table("audit-answers b") == NOTHING


def test_what_is_forgotten_is_told_beside_floor_ceiling_and_the_best_method() -> None:
    def row(rule: str, method: str, average: float) -> dict[str, Any]:
        runs = [{"average": average, "floor": 0.2}, {"average": average, "floor": 0.21}]
        return {"stream": "class", "rule": rule, "method": method, "runs": runs}

    rows = [
        *(row(rule, "plain", 0.195) for rule in ("backprop", "dfa")),
        row("backprop", "ewc", 0.22),
        row("backprop", "replay", 0.8),
        row("dfa", "replay", 0.9),
        row("backprop", "slots", 0.85),
        row("backprop", "all together", 0.95),
    ]
    said = audits.forgotten(rows)
    assert "accuracy at the end is 19.5 ± 0.0% (backprop) and 19.5 ± 0.0% (DFA)." in said
    assert "the last experience scores 20.5%, and backprop on all at once 95.0 ± 0.0%" in said
    assert (
        "slot machines keep 85.0 ± 0.0%, and the best of the other methods by its mean, replay, 8"
        in said
    )
    assert "known at test" in said
    assert "pixels" not in said


def test_the_time_of_an_audit_is_that_of_its_record() -> None:
    made = {
        "started": "2026-11-30T10:00:00+00:00",
        "finished": "2026-11-30T10:03:30+00:00",
        "command": "beyondprop audit a",
        "hardware": {"cores": 2},
    }
    said = audits.duration({"provenance": made})
    assert said == "`beyondprop audit a` took 3.5 minutes on 2 cores."
