import importlib
import json
from functools import partial
from pathlib import Path

import pytest


def test_a_pipeline_is_measured_beside_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark, nets = importlib.import_module("pipeline"), importlib.import_module("nets")
    small = nets.Net("tiny", partial(nets.mlp, 8, 8, 3), (8, 8))
    monkeypatch.setattr(benchmark, "nets", lambda: [small])
    output = tmp_path / "pipeline.json"
    benchmark.main(rounds=1, steps=1, chunks=(2,), output=output)
    record = json.loads(output.read_text())
    assert [row["training"] for row in record["rows"]] == ["dgl", "dfa", "backprop, 1F1B"]
    for row in record["rows"]:
        assert row["ratio"] > 0
        two = f"{row['samples_per_second_two']:,.0f}"
        assert f"| tiny | {row['training']} | 8 | 2 |" in output.with_suffix(".md").read_text()
        assert two in output.with_suffix(".md").read_text()
    assert "Throughput of a pipeline" in capsys.readouterr().out
