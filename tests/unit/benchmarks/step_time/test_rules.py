import json
from pathlib import Path

import pytest

import beyondprop as bp
from benchmarks.step_time import rules


def test_step_time_writes_a_record_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "times.json"
    rules.main(rounds=2, warmup=1, threads=1, cases=("mlp-2x64",), output=output)
    record = json.loads(output.read_text())
    taught = [name for name in bp.rules.RULES if name != "ff"]  # it takes nets of its own kind
    expected = ["plain PyTorch", *taught, "dfa, ChainStep"]
    assert [row["rule"] for row in record["rows"]] == expected
    assert record["rows"][0]["ratio"] == 1.0
    assert all(row["seconds"] > 0 for row in record["rows"])
    assert record["spec"] == {"rounds": 2, "warmup": 1, "threads": 1}
    assert record["provenance"]["hardware"]["threads"] == 1
    table = output.with_suffix(".md").read_text()
    for row in record["rows"]:
        assert f"| mlp-2x64 | {row['rule']} | 32 | {row['seconds'] * 1000:.3f} |" in table
    assert "mlp-2x64" in capsys.readouterr().out
