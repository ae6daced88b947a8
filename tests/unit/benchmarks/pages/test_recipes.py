"""The YAML files next to published comparisons contain the settings of their records."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest

from benchmarks.common.records import RESULTS, load
from benchmarks.pages.index import today
from benchmarks.pages.recipes import recipes
from beyondprop.cli.app import parser
from beyondprop.cli.parser import spec_of
from beyondprop.experiment import CompareSpec
from beyondprop.files import finite

RECORDS = sorted((RESULTS / "comparisons").glob("*.json"))


def test_every_comparison_has_its_settings_beside_it() -> None:
    there = {path: path.read_text("utf-8") for path in (RESULTS / "comparisons").glob("*.yaml")}
    assert there == recipes()


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_the_settings_are_read_as_the_record_says_them(record: Path) -> None:
    expected = load(f"comparisons/{record.stem}")["spec"]
    if not expected.keys() <= {field.name for field in fields(CompareSpec)}:
        pytest.skip("made by a version whose comparisons had other settings")
    words = ["compare", "--config", str(record.with_suffix(".yaml"))]
    found = finite(asdict(spec_of(CompareSpec, parser().parse_args(words).compare)))
    task = expected["task"]
    expected |= {"task": today(task) if isinstance(task, str) else task, "data": None}
    assert {key: found[key] for key in expected} == expected
