import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.optics import accuracy, accuracy_plot, configurations, tables, training
from beyondprop.optics import lighton_opu
from beyondprop.tasks import Data, Split, Task


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Forget the data of the task, which a test replaces."""
    training.data_of.cache_clear()
    yield
    training.data_of.cache_clear()


def small(**_: object) -> Data:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 6, generator=draw), torch.arange(60) % 3
    x[:, :3] += 2 * nn.functional.one_hot(y, 3)
    part = Split(x, y)
    return Data("points", part, part, part, classes=("a", "b", "c"))


def task() -> Task:
    def model():
        layers = nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)
        return nn.Sequential(*layers)

    return Task("points", "points", lambda _: small(), model, batch_size=20)


def test_rates_are_chosen_on_the_validation_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:

    def cached_runs(_folder, jobs, _workers):
        return {
            name: {"validation": -abs(j.args[2] - 2e-3), "test": j.args[2]}
            for name, j in jobs.items()
        }

    monkeypatch.setattr(accuracy, "cached_runs", cached_runs)
    rates = accuracy.tuned("mnist", 1, 1, Path("runs"))
    assert rates == dict.fromkeys(configurations.CONTROLS, 2e-3)


def test_light_learns_and_all_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {n: configurations.CONFIGURATIONS[n] for n in ("backprop", "exact", "frozen", "8 bits")}
    few["lighton-opu"] = configurations.CONFIGURATIONS["lighton-opu"]
    monkeypatch.setattr(accuracy, "CONFIGURATIONS", few)
    monkeypatch.setattr(accuracy, "TASKS", {"mnist": "points"})
    monkeypatch.setattr(accuracy, "RATES", (1e-3, 3e-2))
    monkeypatch.setattr(training, "find", lambda _: task())
    monkeypatch.setattr(
        accuracy, "cached_runs", lambda _f, jobs, _w: {n: j() for n, j in jobs.items()}
    )
    output = tmp_path / "accuracy.json"
    accuracy.main(epochs=6, repeats=2, output=output)
    rows = {row["way"]: row for row in json.loads(output.read_text())["rows"]}
    assert list(rows) == list(few)
    assert rows["backprop"]["recovery"] == 1
    assert rows["frozen"]["recovery"] == 0
    assert rows["exact"]["less"] == 0
    assert rows["lighton-opu"]["rate"] == rows["8 bits"]["rate"] == rows["exact"]["rate"]
    assert rows["lighton-opu"]["shots"] == 6 * 60 * lighton_opu().shots
    assert rows["exact"]["shots"] is None
    assert rows["8 bits"]["sweeps"] == {"camera bits": 8}
    assert rows["lighton-opu"]["test"] > 0.6  # a third would be chance
    for row in rows.values():
        assert len(row["seeds"]) == 2
        assert all(losses[-1] < losses[0] for losses in row["train_loss"].values())
    assert all(-1 <= cosine <= 1 for cosine in rows["lighton-opu"]["alignment"])
    assert len(rows["lighton-opu"]["alignment"]) == 2
    assert "| mnist | lighton-opu |" in output.with_suffix(".md").read_text()
    assert "Direct feedback alignment through light" in capsys.readouterr().out


def test_the_plot_shows_every_sweep_and_says_what_lies_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the picture is drawn by matplotlib")
    high = {"backprop": 0.98, "exact": 0.97, "frozen": 0.9, "drift, lifetime 1e2 shots": 0.137}

    def figures(way, seed):
        made = {"way": way, "seed": seed, "rate": 1e-3, "alignment": [0.5], "shots": 1}
        made["validation"] = 0.5
        return made | {"test": high.get(way, 0.95), "train_loss": [1.0]}

    found = [figures(way, seed) for way in configurations.CONFIGURATIONS for seed in range(2)]
    rows = [row for name in accuracy_plot.NAMES for row in accuracy.summary(name, found)]
    monkeypatch.setattr(accuracy_plot, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(accuracy_plot, "PLOT", tmp_path / "plot.svg")
    (tmp_path / "record.json").write_text(json.dumps({"rows": rows}))
    accuracy_plot.main()
    assert (tmp_path / "plot.svg").read_text().count("<!-- 14 ↓ -->") == 2
    table = tables.accuracy(rows)
    assert [line[0] for line in table[1]][:3] == [
        "**backprop**",
        "**exact feedback**",
        "**frozen**",
    ]
    assert table[1][2][1:5] == ["90.00% ± 0.00", "-7.00", "0%", "0.50"]
