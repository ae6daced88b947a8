import json
from pathlib import Path

import pytest
import torch.nn.functional as F

from benchmarks.neighbourhoods import rules, tables
from beyondprop.tasks import Data, Split, find


def few(folder: Path | None) -> Data:
    """A hundred drawn-over digits in the shape of Fashion-MNIST."""
    data = find("digits-mlp").load(folder)

    def part(split: Split, count: int) -> Split:
        inputs, targets = split.batch(slice(0, count))
        images = F.interpolate(inputs.reshape(-1, 1, 8, 8), size=28)
        return Split(images, targets)

    parts = [part(each, 128) for each in (data.train, data.validation, data.test)]
    return Data("few", *parts, classes=data.classes)


def test_every_rule_teaches_both_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "part_of_fashion", few)
    output = tmp_path / "rules.json"
    rules.main(6, 20, (1e-3,), 1, 1, tmp_path / "runs", output)
    (row,) = json.loads(output.read_text())["rows"]
    assert [*row] == ["teacher", rules.UNTAUGHT, *rules.WAYS]
    below = row[rules.UNTAUGHT]["errors"]
    for name in ("backprop", "dfa", "fa", "kp", "usf"):
        assert len(row[name]["rates"]) > 1  # a single rate is an end
        assert all(one < other for one, other in zip(row[name]["errors"], below, strict=True))
    assert row["backprop"]["errors"] != row["dfa"]["errors"]


def test_rules_are_paired_with_backprop() -> None:
    def way(score: float) -> dict[str, object]:
        return {"score": score, "errors": [0.1, 0.3], "rate": 1e-3, "edge": False}

    rows = [
        {"teacher": {"score": top}, "backprop": way(top - 0.01), "dfa": way(top - 0.03 - off)}
        for top, off in ((0.9, 0.001), (0.8, -0.001))
    ]
    _, (teacher, backprop, dfa) = tables.by_rule(rows)
    assert teacher[:2] == ["teacher", "0.8500"]
    assert teacher[3:] == ["–", "–"]
    assert backprop[2] == "–"
    assert dfa[2].startswith("-0.0200 ± 0.0127")
    assert dfa[3:] == ["0.200", "0.001"]
