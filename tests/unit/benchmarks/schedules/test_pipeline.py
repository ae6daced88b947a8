import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks.common.networks import Network, mlp
from benchmarks.schedules import pipeline


def test_a_pipeline_is_measured_beside_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Network("tiny", partial(mlp, 8, 8, 3), (8, 8))
    monkeypatch.setattr(pipeline, "nets", lambda: [small])
    output = tmp_path / "pipeline.json"
    pipeline.main(rounds=1, steps=1, chunks=(2,), output=output)
    record = json.loads(output.read_text())
    assert [row["training"] for row in record["rows"]] == ["dgl", "dfa", "backprop, 1F1B"]
    for row in record["rows"]:
        assert row["ratio"] > 0
        two = f"{row['samples_per_second_two']:,.0f}"
        assert f"| tiny | {row['training']} | 8 | 2 |" in output.with_suffix(".md").read_text()
        assert two in output.with_suffix(".md").read_text()
    assert "Throughput of a pipeline" in capsys.readouterr().out
