import importlib
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from beyondprop.errors import UserError
from beyondprop.optics import (
    Electronics,
    PhotonicProjection,
    electronic_cost,
    ideal,
    lighton_opu,
    optical_cost,
)
from beyondprop.tasks import Data, Split, Task


def script(name: str):
    return importlib.import_module(name)


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


def one(value: int) -> dict[str, int]:
    return {"value": value}


def test_runs_are_kept_and_not_repeated(tmp_path: Path) -> None:
    kept_runs = script("kept_runs").kept_runs
    jobs = {"a, b": partial(one, 1), "c": partial(one, 2)}
    assert kept_runs(tmp_path, jobs, 1) == {"a, b": {"value": 1}, "c": {"value": 2}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_b.json", "c.json"]
    (tmp_path / "c.json").write_text('{"value": 5}')
    more = {**jobs, "c": partial(one, 3), "d": partial(one, 4)}
    assert [found["value"] for found in kept_runs(tmp_path, more, 1).values()] == [1, 5, 4]


def fails() -> dict[str, int]:
    raise ValueError("no luck")


def test_a_run_that_fails_leaves_the_others_kept(tmp_path: Path) -> None:
    kept_runs = script("kept_runs").kept_runs
    jobs = {"a": partial(one, 1), "b": fails, "c": partial(one, 2), "d": partial(one, 3)}
    with pytest.raises(UserError, match=r"1 of 4 runs failed .* \(b: ValueError\('no luck'\)\)"):
        kept_runs(tmp_path, jobs, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "c.json", "d.json"]
    mended = {name: partial(one, 4) for name in jobs}
    assert [found["value"] for found in kept_runs(tmp_path, mended, 1).values()] == [1, 4, 2, 3]


def test_ways_have_the_parts_that_they_name() -> None:
    cases = script("optics_cases")
    plain = ideal()
    for name, way in cases.WAYS.items():
        if name in cases.CONTROLS:
            continue
        projection = way(7).projection
        assert isinstance(projection, PhotonicProjection)
        assert (projection.seed, projection.shared) == (7, True)
        if name.startswith("lighton-opu"):
            continue
        parts = "encoder", "scattering", "camera", "retrieval"
        other = [p for p in parts if getattr(projection.device, p) != getattr(plain, p)]
        assert len(other) == (0 if name == "ideal" else 1), name
    assert cases.WAYS["lighton-opu"](0).projection.device == lighton_opu()
    assert cases.WAYS["8 bits"](0).projection.device.camera.bits == 8
    for sweep in cases.SWEEPS.values():
        assert set(sweep.values()) <= set(cases.WAYS)
    assert cases.WAYS[cases.SWEEPS["camera bits"][2]](0).projection.device.camera.bits == 2
    threshold = cases.SWEEPS["threshold, one magnitude"][0.5]
    assert cases.WAYS[threshold](0).projection.device.encoder.threshold == 0.5


def test_rates_are_chosen_on_the_validation_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = script("optics_accuracy")

    def kept_runs(_folder, jobs, _workers):
        return {
            name: {"validation": -abs(j.args[2] - 2e-3), "test": j.args[2]}
            for name, j in jobs.items()
        }

    monkeypatch.setattr(benchmark, "kept_runs", kept_runs)
    rates = benchmark.tuned("mnist", 1, 1, Path("runs"))
    assert rates == dict.fromkeys(script("optics_cases").CONTROLS, 2e-3)


def test_light_learns_and_all_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark, runs = script("optics_accuracy"), script("optics_runs")
    few = {n: script("optics_cases").WAYS[n] for n in ("backprop", "exact", "frozen", "8 bits")}
    few["lighton-opu"] = script("optics_cases").WAYS["lighton-opu"]
    monkeypatch.setattr(benchmark, "WAYS", few)
    monkeypatch.setattr(benchmark, "TASKS", {"mnist": "points"})
    monkeypatch.setattr(benchmark, "RATES", (1e-3, 3e-2))
    monkeypatch.setattr(runs, "find", lambda _: task())
    monkeypatch.setattr(
        benchmark, "kept_runs", lambda _f, jobs, _w: {n: j() for n, j in jobs.items()}
    )
    output = tmp_path / "optics_accuracy.json"
    benchmark.main(epochs=6, repeats=2, output=output)
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


def test_the_picture_shows_every_sweep_and_says_what_lies_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the picture is drawn by matplotlib")
    benchmark, plot = script("optics_accuracy"), script("optics_plot")
    high = {"backprop": 0.98, "exact": 0.97, "frozen": 0.9, "drift, lifetime 1e2 shots": 0.137}

    def figures(way, seed):
        made = {"way": way, "seed": seed, "rate": 1e-3, "alignment": [0.5], "shots": 1}
        made["validation"] = 0.5
        return made | {"test": high.get(way, 0.95), "train_loss": [1.0]}

    found = [figures(way, seed) for way in script("optics_cases").WAYS for seed in range(2)]
    rows = [row for name in plot.NAMES for row in benchmark.summary(name, found)]
    monkeypatch.setattr(plot, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(plot, "PLOT", tmp_path / "plot.svg")
    (tmp_path / "record.json").write_text(json.dumps({"rows": rows}))
    plot.main()
    assert (tmp_path / "plot.svg").read_text().count("<!-- 14 ↓ -->") == 2
    table = script("optics_tables").accuracy(rows)
    assert [line[0] for line in table[1]][:3] == [
        "**backprop**",
        "**exact feedback**",
        "**frozen**",
    ]
    assert table[1][2][1:5] == ["90.00% ± 0.00", "-7.00", "0%", "0.50"]


def test_light_is_set_beside_electronics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = script("optics_cost")
    monkeypatch.setattr(benchmark, "SIDES", (64, 256))
    monkeypatch.setattr(benchmark, "BATCHES", (2,))
    monkeypatch.setattr(benchmark, "FITS", 64)
    output = tmp_path / "optics_cost.json"
    benchmark.main(threads=1, watts=50.0, output=output)
    small, large, even = json.loads(output.read_text())["rows"]
    assert (small["side"], small["dense_measured"]) == (64, True)
    assert (large["side"], large["dense_measured"]) == (256, False)
    assert small["shots"] == 2 * lighton_opu().shots
    for row in (small, large):
        assert row["light_seconds"] == pytest.approx(sum(row["light_parts"].values()))
        assert row["light_parts"]["shots"] == row["shots"] / 2000
        assert row["step_seconds"]["light"] > row["light_seconds"] > row["hadamard_seconds"]
        seconds, joules = row["step_seconds"], row["step_joules"]
        for way in ("dense", "hadamard"):
            assert joules[way] == pytest.approx(50 * seconds[way])
        optics = sum(row["light_parts"][part] for part in ("send", "shots", "receive"))
        power = lighton_opu().specification.power
        assert row["light_joules"] == pytest.approx(optics * power)
        assert joules["light"] == pytest.approx(
            row["light_joules"] + 50 * (seconds["light"] - optics)
        )
    product = 2 * 2 * 256**2 / even["rate"]
    assert large["dense_seconds"] == pytest.approx(product)
    assert even["watts"] == 50
    heads, lines = script("optics_tables").cost([small, large, even])
    assert len(heads) == len(lines[0])
    assert "(counted)" in lines[1][5]
    assert "light is as fast as a dense product" in " ".join(capsys.readouterr().out.split())
    (*_, watts, said) = benchmark.notes([even | {"side": None, "joules_side": 7000}])
    assert "50 W" in watts
    assert "product never, and takes no more energy from n = 7,000 on" in said


def test_the_break_even_in_joules_is_where_light_begins_to_take_less() -> None:
    benchmark, device = script("optics_cost"), lighton_opu()

    def ratio(chip: Electronics, side: int) -> float:
        light = optical_cost(device, chip, benchmark.LINK, 1, side, side)
        return light.joules / electronic_cost(chip, 1, side, side).joules

    chip = Electronics(rate=1e11, power=100.0, simple_rate=1e9)
    side = benchmark.even_in_joules(chip, 1)
    assert ratio(chip, side) <= 1 < ratio(chip, side - 1)
    never = Electronics(rate=1e18, power=0.001, simple_rate=1e9)
    assert benchmark.even_in_joules(never, 1) is None
