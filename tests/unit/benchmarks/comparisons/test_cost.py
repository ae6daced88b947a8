"""The picture of a comparison's costs, and what users get, are made of records."""

import copy
from pathlib import Path

import pytest

from benchmarks.common.records import RESULTS
from benchmarks.comparisons import cost
from benchmarks.pages import tables
from benchmarks.pages.outcomes import outcomes
from beyondprop.errors import UserError


def test_the_picture_is_that_of_the_record(tmp_path: Path) -> None:
    cost.main("fashion-small", tmp_path / "made.svg")
    assert (tmp_path / "made.svg").read_bytes() == (
        RESULTS / "comparisons" / "fashion-small.svg"
    ).read_bytes()


def test_a_cost_that_was_not_measured_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    record = copy.deepcopy(tables.load("comparisons/fashion-small"))
    record["rows"][1]["memory_ratio"] = None
    monkeypatch.setattr(cost, "load", lambda _: record)
    with pytest.raises(UserError, match="compare with --measures step-time memory"):
        cost.main("fashion-small")


def test_what_users_get_is_read_from_records() -> None:
    def load(name: str) -> dict[str, object]:
        record = copy.deepcopy(tables.load(name))
        for row in record["rows"]:
            if row.get("way") == "dgl, immediate":
                row["bytes"] = 5e6
            if row.get("rule") == "dfa":
                row["recovery_interval"] = [0.111, 0.222]
        return record

    _, rows = outcomes(load)
    measured = [row[-1] for row in rows]
    assert "(11% to 22%)" in measured[0]
    assert measured[1].startswith("5 MB")
    assert len(rows) == 4
