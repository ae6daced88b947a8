"""Pictures and tables of studies of scale, of losses that follow known laws."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scaling import light, pictures, tables
from beyondprop.experiment.scaling import studied
from beyondprop.optics import Electronics, PhotonicCost, step_cost


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    exponents = {"backprop": 0.2, "dfa": 0.1}
    runs = [
        {
            "size": f"w{size}",
            "rule": rule,
            "seed": seed,
            "status": "finished",
            "parameters": size,
            "samples": 100,
            "operations": 10 * size,
            "seconds": 1.0,
            "loss": size**-exponent * (1 + 0.01 * ((seed * size) % 3)),
        }
        for rule, exponent in exponents.items()
        for size in (10, 30, 100, 300)
        for seed in range(3)
    ]
    member = {"task": "scaled-fashion-small", "width": 8, "depth": 3}
    return {"members": {"w10": member}, **studied(runs)}


def test_a_table_has_the_laws_and_a_line_a_rule(record: dict[str, Any]) -> None:
    heads, rows = tables.laws(record, "parameters")
    assert all(len(row) == len(heads) for row in rows)
    assert [row[0] for row in rows] == ["backprop", "dfa"]
    assert rows[0][1].startswith("0.2")
    assert rows[1][1].startswith("0.1")
    assert rows[1][4:] == ["opens", "never"]
    assert tables.told(record).startswith("- dfa: its gap to backprop opens with more parameters")
    assert tables.axes(record) == ["parameters", "operations"]


def test_a_picture_names_its_rules(record: dict[str, Any], tmp_path: Path) -> None:
    pictures.draw(record, tmp_path / "study.svg")
    first = (tmp_path / "study.svg").read_bytes()
    pictures.draw(record, tmp_path / "study.svg")
    assert (tmp_path / "study.svg").read_bytes() == first
    assert first.startswith(b"<?xml")


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_networks_have_about_as_many_parameters(depth: int) -> None:
    widths = light.Layers(20, depth).widths(50_000)
    assert len(widths) == depth + 2
    count = sum(before * after + after for before, after in pairwise(widths))
    assert count == pytest.approx(50_000, rel=0.02)


def test_backprop_takes_another_product_for_all_layers_but_the_first() -> None:
    chip, widths = Electronics(1e12, 100.0), (20, 3000, 3000, 10)
    without = step_cost(PhotonicCost(), chip, light.ROWS, widths).seconds
    more = 2 * light.ROWS * (3000 * 3000 + 3000 * 10) / 1e12
    assert light.backprop_seconds(chip, widths) == pytest.approx(without + more)


def test_light_pays_for_no_rule_that_needs_many_times_the_parameters(
    record: dict[str, Any],
) -> None:
    heads, rows = light.table(record)
    assert all(len(row) == len(heads) for row in rows)
    assert [row[0] for row in rows] == ["10", "3e+02", "1e+08", "1e+09", "1e+10"]
    # Backprop's loss falls twice as fast: for DFA's loss at N it takes about the root of N.
    assert float(rows[-1][2].split()[0]) == pytest.approx(1e5, rel=0.2)
    assert float(rows[-1][-1].split()[0]) > 1
    assert light.break_even(record) == (
        "By the fitted laws, light pays off at none of these sizes, against electronics of either "
        "1 or 100 TFLOP/s."
    )
    assert light.Layers.of(record) == light.Layers(196, 3, 10)
