"""Pictures and tables of studies of scale, of losses that follow known laws."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.scaling import pictures, tables
from beyondprop.experiment.scaling import studied


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
    return studied(runs)


def test_a_table_has_the_laws_and_a_line_a_rule(record: dict[str, Any]) -> None:
    heads, rows = tables.laws(record, "parameters")
    assert all(len(row) == len(heads) for row in rows)
    assert [row[0] for row in rows] == ["backprop", "dfa"]
    assert rows[0][1].startswith("0.2")
    assert rows[1][1].startswith("0.1")
    assert rows[1][4:] == ["opens", "never"]
    assert tables.told(record).startswith("- dfa: with more parameters its gap to backprop opens")
    assert tables.axes(record) == ["parameters", "operations"]


def test_a_picture_names_its_rules(record: dict[str, Any], tmp_path: Path) -> None:
    pictures.draw(record, tmp_path / "study.svg")
    first = (tmp_path / "study.svg").read_bytes()
    pictures.draw(record, tmp_path / "study.svg")
    assert (tmp_path / "study.svg").read_bytes() == first
    assert first.startswith(b"<?xml")
