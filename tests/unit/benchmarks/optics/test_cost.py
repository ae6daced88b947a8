import json
from pathlib import Path

import pytest

from benchmarks.optics import cost, tables
from beyondprop.optics import Electronics, electronic_cost, lighton_opu, optical_cost


def test_light_is_set_beside_electronics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cost, "SIDES", (64, 256))
    monkeypatch.setattr(cost, "BATCHES", (2,))
    monkeypatch.setattr(cost, "FITS", 64)
    output = tmp_path / "cost.json"
    cost.main(threads=1, watts=50.0, output=output)
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
    heads, lines = tables.cost([small, large, even])
    assert len(heads) == len(lines[0])
    assert "(counted)" in lines[1][5]
    assert "light is as fast as a dense product" in " ".join(capsys.readouterr().out.split())
    (*_, watts, said) = cost.notes([even | {"side": None, "joules_side": 7000}])
    assert "50 W" in watts
    assert "product never, and uses no more energy from n = 7,000 on" in said


def test_the_break_even_in_joules_is_where_light_begins_to_take_less() -> None:
    device = lighton_opu()

    def ratio(chip: Electronics, side: int) -> float:
        light = optical_cost(device, chip, cost.LINK, 1, side, side)
        return light.joules / electronic_cost(chip, 1, side, side).joules

    chip = Electronics(rate=1e11, power=100.0, simple_rate=1e9)
    side = cost.even_in_joules(chip, 1)
    assert ratio(chip, side) <= 1 < ratio(chip, side - 1)
    never = Electronics(rate=1e18, power=0.001, simple_rate=1e9)
    assert cost.even_in_joules(never, 1) is None
