import json
from pathlib import Path

import pytest
import torch

from benchmarks.audit import forgetting, search, tables, trials
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
    whole = trials.Trial("digits-mlp", 200, "class", "backprop", 1)
    task, _ = whole.data()
    monkeypatch.setattr(trials.Trial, "data", lambda _: (task, digits(None)), raising=True)
    few = {
        "plain": trials.Way(rates=(3e-3,)),
        "replay": trials.Way(keeps=trials.SAMPLE, rates=(3e-3,)),
        "slots": trials.WAYS["slots"],
    }
    monkeypatch.setattr(search, "WAYS", few)
    monkeypatch.setattr(forgetting, "WAYS", few)
    output = tmp_path / "forgetting.json"
    forgetting.main(
        "digits-mlp", 200, ("class",), ("dfa",), tuple(few), 2, 1, 1, tmp_path / "runs", output
    )
    rows = json.loads(output.read_text())["rows"]
    assert [row["method"] for row in rows] == [*few, forgetting.TOGETHER]
    plain, replay, slots, top = (row["runs"][0] for row in rows)
    assert plain["floor"] <= plain["average"] < replay["average"] <= top["average"] + 0.1
    assert {each["rate"] for each in rows[-1]["search"]["tried"]} >= set(trials.RATES)
    assert replay["bits"] <= slots["bits"]
    assert plain["bits"] == 0
    heads, lines = tables.forgetting(rows)
    assert len(heads) == len(lines[0]) == 8
    for row, line in zip(rows[:3], lines, strict=False):
        assert line[3].endswith("†") == row["search"]["edge"]
    assert lines[-1][4:] == ["–"] * 4


def test_the_search_goes_on_beyond_an_end() -> None:
    def tried(strength: float, rate: float, score: float) -> dict[str, object]:
        return {"setting": {"strength": strength}, "rate": rate, "score": score}

    found = [tried(s, r, s * r) for s in (1.0, 3.0) for r in (0.1, 0.3, 0.9)]
    best = found[-1]
    assert search.beyond(found, best) == [
        search.Choice({"strength": 3.0}, pytest.approx(2.7)),
        search.Choice({"strength": 9.0}, 0.9),
    ]
    middle = [*found, tried(9.0, 0.9, 0), tried(3.0, 2.7, 0)]
    assert search.beyond(middle, best) == []
    assert search.outside({0.1}, 0.1) == []


def test_kept_samples_have_the_bits_of_a_bank() -> None:
    trial = trials.Trial("digits-mlp", 200, "class", "dfa", 1)
    few, fewer = (trial.memory(trials.WAYS[name]) for name in ("replay", "dark-replay"))
    assert few is not None
    assert fewer is not None
    bits = few * trials.SAMPLE
    assert fewer < few
    assert abs(bits - fewer * (trials.SAMPLE + trials.LOGITS)) < trials.SAMPLE + trials.LOGITS
    assert trial.memory(trials.WAYS["plain"]) is None
