"""What pages say of methods for several modalities, from synthetic records, or from none."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.records import ROOT, load
from benchmarks.modalities.tables import NOTHING
from benchmarks.pages import tables
from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.statistics import paired

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes synthetic records, as the tests of the report have them."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "unit" / "report")  # type: ignore[no-untyped-call]
    made: Make = importlib.import_module("modal_records").modalities
    return made


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Any]], None]:
    """Puts a record into a folder of results that is otherwise empty."""
    (tmp_path / "modalities").mkdir()
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(
        tables, "load", lambda name: json.loads((tmp_path / f"{name}.json").read_text())
    )

    def one(name: str, record: dict[str, Any]) -> None:
        (tmp_path / "modalities" / f"{name}.json").write_text(json.dumps(record))

    return one


def called(record: dict[str, Any], name: str) -> dict[str, Any]:
    """`record` of another task."""
    for seed in record["seeds"]:
        seed["task"] |= {"name": name}
    return record


def test_where_nothing_is_recorded_a_page_says_so(put: Any) -> None:
    del put
    for name in ("modalities few", "modalities-verdict", "modalities-verdict few more"):
        assert tables.table(name) == NOTHING
    page = "# A\n\n<!-- table modalities-verdict few -->\n<!-- end -->\n"
    assert NOTHING in tables.filled(page)


def test_where_pre_training_does_not_help_comes_first(make: Make, put: Any) -> None:
    five = range(5)
    put("a", called(make(seeds=five, ends={OURS: 0.95}, noise=0.001), "helped"))
    put("b", called(make(seeds=five, ends={OURS: 0.5}, noise=0.001), "hindered"))
    lines = tables.table("modalities-verdict a b").splitlines()
    assert len(lines) == 2
    no_gain = "shows no gain: it scores below all 13 other methods"
    assert lines[0].startswith(f"- hindered: {OURS} {no_gain}")
    assert lines[1].startswith(f"- helped: {OURS} scores above all 13 other methods")
    assert tables.table("modalities-verdict") == "\n".join(lines)
    alone = tables.table("modalities-verdict a missing")
    assert alone == lines[1].removeprefix("- ")
    assert alone.endswith("(5 seeds).")


def test_a_comparison_has_its_verdict_before_its_table(make: Make, put: Any) -> None:
    record = make(seeds=range(3))
    put("a", record)
    told, table, notes = tables.table("modalities a").split("\n\n")
    assert told == tables.table("modalities-verdict a")
    lines = table.splitlines()
    assert lines[0].startswith("| method | score | ± 95% | pre-training minus this |")
    assert "| to target | seconds | runs |" in lines[0]
    assert len(lines) == 2 + len(record["seeds"][0]["methods"])
    (joint,) = [line for line in lines if line.startswith("| joint |")]
    assert joint.endswith("| 100% | 60% | 12.5 | 3 of 3 |")
    (umt,) = [line for line in lines if line.startswith("| UMT |")]
    assert " † |" in umt
    assert umt.endswith("| 100% | – | 12.5 | 3 of 3 |")
    assert "- To target: the share of operations, including earlier stages, until the" in notes
    assert "- Trained alone, sound converges after 2 epochs, 10% of the operations." in notes
    for seed in record["seeds"]:
        seed["methods"][OURS]["score"] += 0.05
    put("a", record)
    assert tables.table("modalities a") != "\n\n".join([told, table, notes])


def test_weights_on_what_says_something_stand_beside_equal_ones(make: Make, put: Any) -> None:
    record = make(seeds=range(3))
    for weight, seed in zip((0.92, 0.93, 0.94), record["seeds"], strict=True):
        known = {"on_informative": weight, "share_informative": 0.5}
        seed["methods"][OURS]["trust"] |= known
    put("a", record)
    head, _, *rows = tables.table("modalities-trust a").splitlines()
    assert "weight on the informative modality" in head
    (row,) = rows  # the other fusions were not measured so
    half = 4.302652729749464 * 0.01 / 3**0.5  # Student's quantile of two degrees of freedom
    assert row.startswith(f"| {OURS} | 0.9300 ± {half:.4f} | 0.5000 ± 0.0000 |")


def test_missing_modalities_stand_beside_the_best_of_those_given(make: Make, put: Any) -> None:
    record = make(seeds=range(3))
    first, second, *_ = record["seeds"][0]["alone"]
    for place, seed in enumerate(record["seeds"]):
        seed["methods"][OURS]["missing"] = {second: 0.6 + 0.01 * place, f"{first}+{second}": 0.9}
        seed["alone"][first] |= {"validation_score": 0.9, "score": 0.7}
        seed["alone"][second] |= {"validation_score": 0.8, "score": 0.8}
    put("a", record)
    table = tables.table("modalities-missing a").splitlines()
    one, both = (line for line in table if line.startswith(f"| {OURS} "))
    assert one.startswith(f"| {OURS} | {second} | 0.6100 ±")
    assert "| 0.8000 ± 0.0000 | -0.1900 ±" in one
    assert "| 0.7000 ± 0.0000 |" in both  # the first is the better one by validation


def test_other_records_beside_comparisons_are_none(make: Make, put: Any) -> None:
    put("a", make())
    put("workers", {"kind": "benchmark", "rows": []})
    assert tables.recorded_modalities() == ["a"]


def test_where_one_modality_dominates_no_method_is_told_from_joint_training() -> None:
    seeds = load("modalities/dominated")["seeds"]
    scores = {
        name: [seed["methods"][name]["score"] for seed in seeds] for name in seeds[0]["methods"]
    }
    for name in ("Gradient-Blending", "OGM-GE", "MMPareto", "UMT"):
        pairs = zip(scores[name], scores["joint"], strict=True)
        less = paired([score - joint for score, joint in pairs])
        assert less.low < 0 < less.value
