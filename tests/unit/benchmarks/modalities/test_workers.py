import json
from pathlib import Path

import pytest

from benchmarks.modalities import workers


@pytest.mark.slow
def test_a_short_run_leaves_a_record(tmp_path: Path) -> None:
    workers.main(rounds=1, epochs=1, runs=tmp_path / "runs", output=tmp_path / "workers.json")
    (row,) = json.loads((tmp_path / "workers.json").read_text())["rows"]
    assert row["same"]
    assert all(row[way] > 0 for way in ("serial", "parallel", "plain_serial", "plain_parallel"))
    assert "the same bytes" in (tmp_path / "workers.md").read_text()
