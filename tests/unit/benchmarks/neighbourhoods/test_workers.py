import json
from pathlib import Path

import pytest

from benchmarks.neighbourhoods import workers


@pytest.mark.slow
def test_a_short_run_leaves_a_record_and_keeps_its_rounds(tmp_path: Path) -> None:
    short = {"rounds": 1, "epochs": 1, "runs": tmp_path / "runs"}
    workers.main(**short, output=tmp_path / "workers.json")
    (row,) = json.loads((tmp_path / "workers.json").read_text())["rows"]
    assert row["same"]
    assert all(row[way] > 0 for way in ("serial", "parallel", "plain_serial", "plain_parallel"))
    kept = tmp_path / "runs" / "workers-2-1" / "round_0.json"
    kept.write_text(json.dumps(row | {"serial": 60.0, "parallel": 30.0}))
    workers.main(**short, output=tmp_path / "workers.json")
    table = (tmp_path / "workers.md").read_text()
    assert "| 60.0 s | 30.0 s | 2.00× |" in table
    assert "the same bytes" in table
