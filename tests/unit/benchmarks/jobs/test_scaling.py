import json
from pathlib import Path

import pytest

from benchmarks.jobs import scaling
from beyondprop.errors import UserError


def test_a_short_run_leaves_a_record_and_keeps_its_rounds(tmp_path: Path) -> None:
    short = {"rounds": 1, "repeats": 2, "epochs": 1, "runs": tmp_path / "runs"}
    scaling.main(**short, output=tmp_path / "scaling.json")
    (row,) = json.loads((tmp_path / "scaling.json").read_text())["rows"]
    assert row["same_bytes"]
    assert all(row[way] > 0 for way in ("serial", "parallel", "plain_serial", "plain_parallel"))
    kept = tmp_path / "runs" / "scaling-2-2-1" / "round_0.json"
    kept.write_text(json.dumps(row | {"serial": 60.0, "parallel": 30.0}))
    scaling.main(**short, output=tmp_path / "scaling.json")
    table = (tmp_path / "scaling.md").read_text()
    assert "| 60.0 s | 30.0 s | 2.00× |" in table
    assert "the same bytes" in table


def test_seeds_that_cannot_be_shared_out_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a multiple of jobs, 2, not 3"):
        scaling.main(repeats=3, output=tmp_path / "scaling.json")
