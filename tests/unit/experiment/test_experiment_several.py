"""A comparison on several tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress
from test_experiment_jobs import without_times

from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, compare, compare_tasks, fit
from beyondprop.experiment.joint_table import cell, joint_table
from beyondprop.experiment.several import COMPARISONS, tasks_in
from beyondprop.files import read_json
from beyondprop.jobs import Workers

BLOBS, NOISY, SCALED = (f"experiment_tasks:{name}" for name in ("BLOBS", "NOISY", "SCALED"))
SPEC = CompareSpec(
    rules=("backprop", "frozen"),
    seeds=(0, 1),
    learning_rates=(0.01,),
    epochs=1,
    measures=(),
    measure_cost=False,
)
QUIET = Progress(disable=True)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of what this process trains from now on."""
    found: list[int] = []
    monkeypatch.setattr(fit.checkpoint, "seed_generators", found.append)
    return found


def test_each_task_has_an_ordinary_comparison(tmp_path: Path) -> None:
    found = compare_tasks(SPEC, [BLOBS, NOISY], tmp_path / "c", progress=QUIET)
    assert list(found["comparisons"]) == [BLOBS, NOISY]
    for task, name in ((BLOBS, "BLOBS"), (NOISY, "NOISY")):
        alone = compare(replace(SPEC, task=task), tmp_path / name, progress=QUIET)
        own = tmp_path / "c" / f"experiment_tasks-{name}" / "comparison.json"
        assert without_times(read_json(own)) == without_times(alone)
        for row, made in zip(found["rows"], alone["rows"], strict=True):
            assert row["on"][task]["score_mean"] == made["score_mean"]
    kept = read_json(tmp_path / "c" / COMPARISONS) or {}
    assert (kept["tasks"], kept["rows"]) == ([BLOBS, NOISY], found["rows"])


def test_tasks_rules_and_seeds_are_added_and_nothing_else_is_trained(
    tmp_path: Path, trained: list[int]
) -> None:
    folder = tmp_path / "c"
    compare_tasks(SPEC, [BLOBS], folder, progress=QUIET)
    assert len(trained) == 4
    trained.clear()
    grown = replace(SPEC, rules=("dfa",), seeds=(2,))
    found = compare_tasks(grown, [NOISY], folder, resume=True, progress=QUIET)
    # Three rules from three seeds on two tasks; two rules from two seeds on one were there.
    assert len(trained) == 18 - 4
    assert list(found["comparisons"]) == tasks_in(folder) == [BLOBS, NOISY]
    for each in found["comparisons"].values():
        assert [row["rule"] for row in each["rows"]] == ["backprop", "dfa", "frozen", "linear"]
        assert each["seeds"] == [0, 1, 2]
    trained.clear()
    unnamed = replace(SPEC, rules=None, seeds=None)
    again = compare_tasks(unnamed, [], folder, resume=True, progress=QUIET)
    assert again["rows"] == found["rows"]
    assert trained == []


def test_workers_make_the_same(tmp_path: Path) -> None:
    serial = compare_tasks(SPEC, [BLOBS, NOISY], tmp_path / "a", progress=QUIET)
    two = Workers(jobs=2)
    parallel = compare_tasks(SPEC, [BLOBS, NOISY], tmp_path / "b", progress=QUIET, workers=two)
    assert without_times(parallel) == without_times(serial)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ([], "give at least one task"),
        ([BLOBS, BLOBS], "none twice"),
        ([BLOBS, "nothing"], "unknown task 'nothing'"),
    ],
)
def test_what_is_no_list_of_tasks_is_refused(
    named: list[str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=problem):
        compare_tasks(SPEC, named, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_folder_of_one_task_does_not_become_one_of_several(tmp_path: Path) -> None:
    compare(replace(SPEC, task=BLOBS), tmp_path / "one", progress=QUIET)
    with pytest.raises(UserError, match="choose another output="):
        compare_tasks(SPEC, [NOISY], tmp_path / "one", resume=True)
    compare_tasks(SPEC, [NOISY], tmp_path / "several", progress=QUIET)
    with pytest.raises(UserError, match="choose another output="):
        compare(replace(SPEC, task=BLOBS), tmp_path / "several", resume=True)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    compare_tasks(SPEC, [BLOBS], tmp_path / "c", progress=QUIET)
    with pytest.raises(UserError, match=r"other settings: epochs \(1 there, 2 now\)"):
        compare_tasks(replace(SPEC, epochs=2), [BLOBS], tmp_path / "c", resume=True)


def figures(**changed: Any) -> dict[str, Any]:
    usual = {
        "score_mean": 0.5,
        "score_interval": [0.4, 0.6],
        "recovery": 0.754,
        "finished": 2,
        "runs": 2,
    }
    return usual | changed


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (figures(), "0.5000 ± 0.1000 (75%)"),
        (figures(score_interval=None, recovery=None), "0.5000"),
        (figures(finished=1), "0.5000 ± 0.1000 (75%) 1/2 runs"),
        (figures(score_mean=None, score_interval=None, recovery=None, finished=0), "– 0/2 runs"),
        (None, "–"),
    ],
)
def test_cells_of_the_joint_table(found: dict[str, Any] | None, shown: str) -> None:
    assert cell(found) == shown


def test_the_joint_table_has_a_column_for_each_task(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"rule": "dfa", "on": {"one": figures(), "two": None}}]
    Console().print(joint_table(rows))
    said = capsys.readouterr().out.split()
    assert [said[i] for i in (0, 1, 2)] == ["rule", "one", "two"]
    assert said[-1] == "–"
