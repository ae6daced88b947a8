"""Damaged records: whatever one value is, they are shown, or one sentence names the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from audit_records import audit
from distilled_records import distillation
from modal_records import modalities
from report_records import comparison, measured, probe, run
from tests.damage import damaged

from beyondprop.errors import UserError
from beyondprop.report.audited.part import audited_part
from beyondprop.report.build import _part
from beyondprop.report.collect import collect
from beyondprop.report.distilled.part import distilled_part
from beyondprop.report.modal.part import modal_part
from beyondprop.report.style import styles


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is checked by then, and drawing takes most of the time."""
    for name in ("learning_curves", "score_against_cost", "recovery"):
        monkeypatch.setattr(f"beyondprop.report.build.{name}", lambda *_: None)
    monkeypatch.setattr("beyondprop.report.build.PICTURES", {})
    for name in ("where_right", "samples", "losses"):
        monkeypatch.setattr(f"beyondprop.report.modal.part.{name}", lambda *_: None)
    monkeypatch.setattr("beyondprop.report.audited.part.PICTURES", {})


def check(file: Path, record: dict[str, Any]) -> str:
    """Return what is said of a record; where that is nothing its page is made."""
    file.write_text(json.dumps(record))
    try:
        found = collect([file.parent])
    except UserError as problem:
        return str(problem)
    for distilled in found.distillations:
        distilled_part(distilled, "d0")
    for audited in found.audits:
        audited_part(audited, styles(audited.rules), "a0")
    for modal in found.modalities:
        modal_part(modal, "m0")
    for each in found.comparisons:
        rules = [row.rule for row in each.rows] + [run.rule for run in each.runs]
        _part(each, styles(rules), "c0")
    return ""


def check_each(file: Path, record: dict[str, Any], key: str) -> None:
    assert not check(file, record)
    for part in damaged({key: record.pop(key)}):
        said = check(file, record | part)
        assert not said or (str(file) in said and "\n" not in said)


def of_comparison() -> dict[str, Any]:
    made = comparison(("dfa",), seeds=(0,), epochs=1, blocks=("a", "b"), classes=("a", "b"))
    return measured(probe(made))


def of_run() -> dict[str, Any]:
    made = measured({"runs": [run("dfa", 0, 1, ("a", "b"), ("a", "b"))], "rows": []})
    return dict(made["runs"][0])


@pytest.mark.parametrize("key", sorted(of_comparison()))
def test_a_damaged_comparison(tmp_path: Path, key: str) -> None:
    check_each(tmp_path / "comparison.json", of_comparison(), key)


@pytest.mark.parametrize("key", sorted(of_run()))
def test_a_damaged_run(tmp_path: Path, key: str) -> None:
    check_each(tmp_path / "record.json", of_run(), key)


@pytest.mark.parametrize("key", sorted(distillation()))
def test_a_damaged_distillation(tmp_path: Path, key: str) -> None:
    record = distillation(("a", "b"), (0.7,), seeds=(0, 1))
    check_each(tmp_path / "distillation.json", record, key)


@pytest.mark.parametrize("key", sorted(modalities()))
def test_a_damaged_comparison_of_modalities(tmp_path: Path, key: str) -> None:
    record = modalities(seeds=(0, 1), methods=("pre-training",))
    check_each(tmp_path / "modalities.json", record, key)


def of_audit(*sections: str) -> dict[str, Any]:
    record = audit(("backprop", "dfa"), (0, 1), sections)
    for each in record["runs"]:
        if "explanations" in each["answers"]:
            del each["answers"]["explanations"]["interactions"]["shown"][1:]
    return record


@pytest.mark.parametrize("key", sorted(of_audit("calibration")))
def test_a_damaged_audit(tmp_path: Path, key: str) -> None:
    check_each(tmp_path / "audit.json", of_audit("calibration"), key)


@pytest.mark.parametrize(
    "name", ["forgetting", "robustness", "explanations", "fairness", "minima", "calibration"]
)
def test_a_damaged_answer(tmp_path: Path, name: str) -> None:
    file, record = tmp_path / "audit.json", of_audit(name)
    answer = record["runs"][0]["answers"].pop(name)
    for part in damaged(answer):
        record["runs"][0]["answers"][name] = part
        said = check(file, record)
        assert not said or (str(file) in said and "\n" not in said)


@pytest.mark.parametrize("name", ["explanations", "minima"])
def test_a_damaged_answer_on_two_runs(tmp_path: Path, name: str) -> None:
    file, record = tmp_path / "audit.json", of_audit(name)
    pair = record["beside"].pop(0)
    for part in damaged(pair):
        said = check(file, record | {"beside": [part]})
        assert not said or (str(file) in said and "\n" not in said)
