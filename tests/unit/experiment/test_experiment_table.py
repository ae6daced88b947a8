"""The table on the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from beyondprop.experiment.spec import MEASURES as DEFAULT
from beyondprop.experiment.table import legend, table
from beyondprop.measure import find_all

RULES = ("backprop", "fa", "dfa", "drtp", "frozen")


def comparison(metric: str) -> dict[str, Any]:
    rows = [
        {
            "rule": rule,
            "score_mean": 0.97222,
            "score_std": 0.01234,
            "recovery": -1.234,
            "alignment": -0.12,
            "isolated": False,
            "step_ratio": 12.345,
            "memory_ratio": 10.987,
            "finished": 10,
            "runs": 10,
        }
        for rule in RULES
    ]
    task = {"name": "mine", "data": "houses", "metric": metric}
    return {"task": task, "seeds": list(range(10)), "rows": rows}


def printed(metric: str, width: int) -> list[str]:
    shown = io.StringIO()
    Console(file=shown, width=width).print(table(comparison(metric)))
    return shown.getvalue().splitlines()


@pytest.mark.parametrize("metric", ["accuracy", "explained variance", "a" * 60])
@pytest.mark.parametrize("width", [80, 200])
def test_nothing_is_cut(metric: str, width: int) -> None:
    lines = printed(metric, width)
    assert "…" not in "".join(lines)
    assert all(len(line) <= width for line in lines)
    figures = ["0.9722 ± 0.0123", "-123.4%", "-0.12", "no", "12.35×", "10.99×", "10/10"]
    for rule in RULES:
        (line,) = [line for line in lines if line.startswith(f"{rule} ")]
        assert " ".join(line.split()) == " ".join([rule, *figures])


def test_diverged_runs_are_told_beside_those_that_finished() -> None:
    record = comparison("accuracy")
    record["rows"][1] |= {"finished": 8, "diverged": 2}
    shown = io.StringIO()
    Console(file=shown, width=120).print(table(record))
    assert "8/10 (2 div.)" in shown.getvalue()


def test_only_the_heading_of_the_score_wraps() -> None:
    head = [line for line in printed("explained variance", 80) if "─" not in line][1:4]
    text = " ".join(head)
    for heading in ("rule", "test", "explained", "variance", "recovery", "alignment", "memory"):
        assert heading in text.split()
    assert any("recovery  " in line and "isolated" in line for line in head)


def test_another_measure_is_another_column() -> None:
    record = comparison("accuracy")
    column = {"key": "energy", "label": "energy used", "meaning": "in all", "unit": " J"}
    described = {"name": "e", "title": "Energy", "about": "Energy.", "columns": [column]}
    record["measures"] = {"e": described}
    for row in record["rows"]:
        row["energy"] = 3.14159
    shown = io.StringIO()
    Console(file=shown, width=80).print(table(record))
    assert "energy" in shown.getvalue()
    assert "alignment" not in shown.getvalue()
    assert shown.getvalue().count("3.14 J") == len(RULES)
    told = legend({**record, "runs": [], "tuning": {"trials": [], "chosen": {}}})
    assert "energy used: in all" in told


def test_with_many_measures_the_table_is_wider_than_the_terminal_and_nothing_is_cut() -> None:
    record = comparison("accuracy")
    described = {measure.name: measure.description().json() for measure in find_all(DEFAULT)}
    for i in range(4):
        column = {"key": f"extra{i}", "label": f"extra {i}", "unit": " J", "form": ".4f"}
        described[str(i)] = {"name": str(i), "title": "t", "about": "a", "columns": [column]}
        for row in record["rows"]:
            row[f"extra{i}"] = 3.14159
    shown = io.StringIO()
    console = Console(file=shown, width=80, soft_wrap=True)
    console.print(table({**record, "measures": described}))
    assert "…" not in shown.getvalue()
    assert shown.getvalue().count("3.1416 J") == 4 * len(RULES)
    assert shown.getvalue().count("10/10") == len(RULES)
