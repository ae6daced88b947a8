import json
from pathlib import Path

import pytest

from benchmarks.audit import tables, through_feedback

pytest.importorskip("captum")


def test_the_same_weights_read_robust_through_the_feedback_graph_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(through_feedback, "TASK", "digits-mlp")
    monkeypatch.setattr(through_feedback, "RATES", "comparisons/digits-mlp")
    monkeypatch.setattr(through_feedback, "RULES", ("backprop", "fa"))
    monkeypatch.setattr(through_feedback, "LEVELS", (0.0, 0.15))
    output = tmp_path / "made.json"
    through_feedback.main(epochs=8, attacked=100, repeats=1, runs=tmp_path / "runs", output=output)
    backprop, fa = json.loads(output.read_text())["rows"]
    assert backprop["through"] == backprop["exact"]
    assert fa["through"][0] == fa["exact"][0] > 0.8  # nothing is attacked
    assert fa["through"][1] > fa["exact"][1] + 0.2
    assert "exact gradients" in output.with_suffix(".md").read_text()


def test_a_rule_has_two_rows() -> None:
    rows = [
        {"rule": "fa", "through": [0.9, 0.8 + 0.01 * seed], "exact": [0.9, 0.1]} for seed in (0, 1)
    ]
    heads, (through, exact) = tables.through_feedback(rows, (0.0, 8 / 255))
    assert heads[2:] == ("no attack", "ε = 8/255")
    assert through[:2] == ["fa", "the rule's graph"]
    assert through[3].startswith("80.5 ±")
    assert exact[3] == "10.0 ± 0.0"
