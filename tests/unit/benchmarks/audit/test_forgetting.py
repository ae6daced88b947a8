import json
from pathlib import Path

import pytest
import torch

from benchmarks.audit import forgetting, tables
from beyondprop.tasks import Data, Split, find


def digits(_: Path | None) -> Data:
    """Digits of 8 × 8 in the shape of MNIST's."""
    data = find("digits-mlp").load(None)

    def grown(part: Split) -> Split:
        rows = min(200, len(part))
        inputs, targets = part.batch(slice(0, rows))
        images = torch.nn.functional.interpolate(inputs.reshape(-1, 1, 8, 8), size=28)
        return Split(images, targets)

    return data.mapped(grown)


def test_every_method_stands_beside_floor_and_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "RATES", (1e-3,))
    whole = forgetting.Trial("digits-mlp", 200, "class", "backprop", 1)
    task, _ = whole.data()
    monkeypatch.setattr(forgetting.Trial, "data", lambda _: (task, digits(None)), raising=True)
    few = {
        "plain": forgetting.Way(rates=(3e-3,)),
        "replay": forgetting.Way(keeps=True, rates=(3e-3,)),
        "slots": forgetting.WAYS["slots"],
    }
    monkeypatch.setattr(forgetting, "WAYS", few)
    output = tmp_path / "forgetting.json"
    forgetting.main(
        "digits-mlp", 200, ("class",), ("dfa",), tuple(few), 2, 1, 1, tmp_path / "runs", output
    )
    rows = json.loads(output.read_text())["rows"]
    assert [row["method"] for row in rows] == [*few, forgetting.TOGETHER]
    plain, replay, slots, top = (row["runs"][0] for row in rows)
    assert plain["floor"] <= plain["average"] < replay["average"] <= top["average"] + 0.1
    assert replay["bits"] <= slots["bits"]
    assert plain["bits"] == 0
    heads, lines = tables.forgetting(rows)
    assert len(heads) == len(lines[0]) == 8
    assert lines[0][3].endswith("†")
    assert lines[-1][4:] == ["–"] * 4
