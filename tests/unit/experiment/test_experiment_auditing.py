"""Audits of trained runs: what is asked, kept, and set side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from rich.progress import Progress

from beyondprop.audit import Audited, Section
from beyondprop.cli import main
from beyondprop.errors import UserError, install
from beyondprop.experiment.audit_runs import found
from beyondprop.experiment.audit_spec import AuditSpec
from beyondprop.experiment.auditing import audit, pairs
from beyondprop.experiment.comparison import compare
from beyondprop.experiment.run import train
from beyondprop.experiment.spec import Adversarial, CompareSpec, RunSpec
from beyondprop.files import StorageError, read_json, write_json
from beyondprop.jobs import Workers
from beyondprop.measure import Column
from beyondprop.tasks import Data, call, find

QUIET = Progress(disable=True)
ME = f"{__name__}:"


@dataclass(frozen=True)
class Sure(Section):
    """How sure a model is, and how far two agree."""

    name: ClassVar[str] = "sure"
    question: ClassVar[str] = "How sure is it?"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("sure", "sureness", "mean probability of what it says", ".2f"),
        Column("verdict", "no number"),
    )
    count: int = 20

    def ask(self, audited: Audited, progress: Progress) -> dict[str, Any]:
        del progress
        out = said(audited, self.count)
        return {"sure": out.amax(1).mean().item(), "verdict": f"{audited.name} is sure"}

    def beside(self, audited: Audited, other: Audited) -> dict[str, Any]:
        one, two = (said(each, self.count).argmax(1) for each in (audited, other))
        return {"agree": (one == two).double().mean().item()}


@dataclass(frozen=True)
class Shy(Section):
    """Answers nothing, and draws random numbers."""

    name: ClassVar[str] = "shy"
    question: ClassVar[str] = "Why?"

    def ask(self, audited: Audited, progress: Progress) -> dict[str, Any]:
        del audited, progress
        torch.rand(3)
        raise UserError("it does not say")


@dataclass(frozen=True)
class Lacking(Shy):  # type: ignore[misc]
    """Needs what nobody has."""

    name: ClassVar[str] = "lacking"
    packages: ClassVar[tuple[str, ...]] = ("no_such_package",)


@dataclass(frozen=True)
class Broken(Section):
    """Fails of one rule as none foresees; is interrupted at another where a file says so."""

    name: ClassVar[str] = "broken"
    question: ClassVar[str] = "What now?"

    def ask(self, audited: Audited, progress: Progress) -> dict[str, Any]:
        del progress
        if audited.name == "dfa":
            raise ZeroDivisionError("nothing to divide by")
        if audited.name == "frozen" and (Path.cwd() / "interrupt").exists():
            raise KeyboardInterrupt
        return {"verdict": "fine"}


def others(folder: Path | None) -> Data:
    return replace(find("digits-mlp").load(folder), name="others")


other = replace(find("digits-mlp"), name="other", load=others)


def said(audited: Audited, count: int) -> torch.Tensor:
    inputs, _ = audited.data.test.batch(slice(0, count))
    with torch.no_grad():
        out: torch.Tensor = call(audited.build(), inputs).softmax(1)
    return out


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("audited") / "compared"
    spec = CompareSpec(
        task="digits-mlp",
        rules=("backprop", "dfa", "frozen"),
        seeds=(0, 1),
        epochs=1,
        learning_rates=(1e-3,),
        measures=(),
        measure_cost=False,
    )
    compare(spec, folder, progress=QUIET)
    return folder


def asked(*names: str) -> AuditSpec:
    return AuditSpec(sections=tuple(f"{ME}{name}" for name in names))


def test_every_section_asks_every_run(compared: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    record = audit(asked("Sure", "Shy", "Lacking"), [compared], tmp_path / "a", progress=QUIET)
    assert torch.equal(before, torch.get_rng_state())
    assert [(run["rule"], run["seed"]) for run in record["runs"]] == [
        *(("backprop", seed) for seed in (0, 1)),
        *(("dfa", seed) for seed in (0, 1)),
        *(("frozen", seed) for seed in (0, 1)),
    ]
    for run in record["runs"]:
        assert 0.1 < run["answers"]["sure"]["sure"] <= 1
        assert run["answers"]["shy"] == {"failed": "it does not say"}
        assert install("audit") in run["answers"]["lacking"]["failed"]
    together = {tuple(each["runs"]): each["agree"] for each in record["beside"]}
    assert set(together) == {
        ("dfa, seed 0", "backprop, seed 0"),
        ("dfa, seed 1", "backprop, seed 1"),
        ("frozen, seed 0", "backprop, seed 0"),
        ("frozen, seed 1", "backprop, seed 1"),
        ("backprop, seed 0", "backprop, seed 1"),
        ("dfa, seed 0", "dfa, seed 1"),
        ("frozen, seed 0", "frozen, seed 1"),
    }
    assert all(0 < agree <= 1 for agree in together.values())


def test_a_section_that_fails_keeps_no_other_from_its_answer(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec, folder = asked("Broken", "Sure"), tmp_path / "a"
    (tmp_path / "interrupt").touch()
    with pytest.raises(KeyboardInterrupt):
        audit(spec, [compared], folder, progress=QUIET)
    kept = {path: path.stat().st_mtime_ns for path in (folder / "answers").glob("*")}
    assert kept
    assert not (folder / "audit.json").exists()
    (tmp_path / "interrupt").unlink()
    record = audit(spec, [compared], folder, resume=True, progress=QUIET)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for run in record["runs"]:
        assert "sure" in run["answers"]["sure"]
        answer = run["answers"]["broken"]
        if run["rule"] == "dfa":
            assert "nothing to divide by" in answer["failed"]
        else:
            assert answer == {"verdict": "fine"}
    assert not list((folder / "answers").glob("*Broken*dfa*"))  # asked again


def test_the_log_has_a_short_line_of_each_question(compared: Path, tmp_path: Path) -> None:
    audit(asked("Sure", "Shy"), [compared], tmp_path / "a", progress=QUIET)
    said = (tmp_path / "a" / "log.txt").read_text().splitlines()
    assert any(re.search(r" sure: dfa, seed 0: sureness 0\.\d\d$", line) for line in said)
    shy = [line for line in said if " shy: " in line]
    told = " shy: backprop, seed 0: it does not say (not repeated for other runs)"
    assert [line.endswith(told) for line in shy] == [True]
    assert any(
        line.endswith("dfa, seed 0 compared with backprop, seed 0: answered") for line in said
    )


def test_a_section_with_settings_is_named_as_people_write_it(
    compared: Path, tmp_path: Path
) -> None:
    spec = AuditSpec(sections=({"section": f"{ME}Sure", "count": 5},))
    audit(spec, [compared / "runs" / "dfa-seed0"], tmp_path / "a", progress=QUIET)
    (path,) = (tmp_path / "a" / "answers").glob("*")
    assert path.name.endswith("Sure-count-5-dfa-seed-0.json")


def test_adversarial_training_stands_beside_plain_training(tmp_path: Path) -> None:
    pytest.importorskip("captum")
    spec = RunSpec(task="digits-mlp", rule="dfa", epochs=1, measures=())
    train(spec, tmp_path / "plain", progress=QUIET)
    attacked = replace(spec, adversarial=Adversarial(0.1, steps=1))
    train(attacked, tmp_path / "attacked", progress=QUIET)
    runs = found([tmp_path / "plain", tmp_path / "attacked"])
    assert [run.rule for run in runs] == ["dfa", "dfa, adversarial (ε = 0.1, steps = 1)"]


def test_a_damaged_answer_is_told(compared: Path, tmp_path: Path) -> None:
    run, folder = compared / "runs" / "dfa-seed0", tmp_path / "a"
    first = audit(asked("Sure"), [run], folder, progress=QUIET)
    (path,) = (folder / "answers").glob("*")
    kept = read_json(path) or {}
    write_json(path, {"asked": kept["asked"]})
    with pytest.raises(StorageError, match="damaged"):
        audit(asked("Sure"), [run], folder, resume=True, progress=QUIET)
    path.unlink()
    again = audit(asked("Sure"), [run], folder, resume=True, progress=QUIET)
    assert again["runs"] == first["runs"]
    assert read_json(path) == kept


def test_the_model_is_the_one_that_was_trained(compared: Path) -> None:
    for run in found([compared]):
        audited = run.audited(None)
        inputs, targets = audited.data.test.batch(slice(0, len(audited.data.test)))
        with torch.no_grad():
            out = call(audited.build(), inputs)
        score = audited.task.metric(out, targets)
        assert score == pytest.approx(run.record["test"]["score"])
        assert audited.recipe.learning_rate == run.spec["learning_rate"] or run.rule == "frozen"


def test_an_audit_goes_on_and_grows(compared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    first = audit(asked("Sure"), [compared / "runs" / "dfa-seed0"], folder, progress=QUIET)
    with pytest.raises(UserError, match="resume=True"):
        audit(asked("Sure"), [compared], folder, progress=QUIET)
    kept = sorted((folder / "answers").glob("*"))
    times = [path.stat().st_mtime_ns for path in kept]
    more = audit(
        asked("Sure", "Shy"),
        [compared],
        folder,
        resume=True,
        progress=QUIET,
        workers=Workers(jobs=2),
    )
    assert [path.stat().st_mtime_ns for path in kept] == times
    own = next(run for run in more["runs"] if run["rule"] == "dfa" and run["seed"] == 0)
    assert own["answers"]["sure"] == first["runs"][0]["answers"]["sure"]
    assert read_json(folder / "audit.json") == more


def test_sections_of_an_earlier_call_stay(compared: Path, tmp_path: Path) -> None:
    run, folder = compared / "runs" / "dfa-seed0", tmp_path / "a"
    audit(asked("Sure"), [run], folder, progress=QUIET)
    more = audit(asked("Broken", "Shy"), [run], folder, resume=True, progress=QUIET)
    assert list(more["sections"]) == ["sure", "broken", "shy"]
    assert set(more["runs"][0]["answers"]) == {"sure", "broken", "shy"}
    few = AuditSpec(sections=({"section": f"{ME}Sure", "count": 5},))
    other = audit(few, [run], folder, resume=True, progress=QUIET)  # with other settings
    assert list(other["sections"]) == ["broken", "shy", "sure"]
    assert other["runs"][0]["answers"]["sure"] != more["runs"][0]["answers"]["sure"]


def test_other_weights_are_asked_again(tmp_path: Path) -> None:
    spec = RunSpec(task="digits-mlp", rule="dfa", epochs=1, measures=())
    train(spec, tmp_path / "one", progress=QUIET)
    audit(asked("Sure"), [tmp_path / "one"], tmp_path / "a", progress=QUIET)
    train(replace(spec, learning_rate=3e-3), tmp_path / "two", progress=QUIET)
    again = audit(asked("Sure"), [tmp_path / "two"], tmp_path / "a", resume=True, progress=QUIET)
    one, two = (found([tmp_path / name])[0] for name in ("one", "two"))
    assert again["runs"][0]["weights_sha256"] == two.digest != one.digest


def test_what_cannot_be_audited_is_told(compared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no finished run"):
        audit(asked("Sure"), [tmp_path], tmp_path / "a", progress=QUIET)
    linear = compared / "runs" / "linear-seed0"
    with pytest.raises(UserError, match="linear-seed0 contains only the linear control"):
        audit(asked("Sure"), [linear], tmp_path / "a", progress=QUIET)
    with pytest.raises(UserError, match="unknown section"):
        audit(AuditSpec(sections=("none",)), [compared], tmp_path / "a", progress=QUIET)
    with pytest.raises(UserError, match="named twice"):
        audit(asked("Sure", "Sure"), [compared], tmp_path / "a", progress=QUIET)
    with pytest.raises(UserError, match="named twice"):
        found([compared, compared / "runs" / "dfa-seed0"])
    other = RunSpec(task=f"{ME}other", rule="dfa", epochs=1, measures=())
    train(other, tmp_path / "other", progress=QUIET)
    with pytest.raises(UserError, match=r"several data sets \(scikit-learn digits, others\)"):
        found([compared, tmp_path / "other"])
    with pytest.raises(UserError, match="at least"):
        AuditSpec(sections=())


def test_other_models_of_the_same_data_stand_beside(compared: Path, tmp_path: Path) -> None:
    spec = RunSpec(task="digits-slots", rule="backprop", epochs=1, measures=())
    train(spec, tmp_path / "slots", progress=QUIET)
    runs = found([compared, tmp_path / "slots"])
    assert runs[-1].name == "backprop, digits-slots, seed 0"
    record = audit(asked("Sure"), [compared, tmp_path / "slots"], tmp_path / "a", progress=QUIET)
    assert record["runs"][-1]["rule"] == "backprop, digits-slots"
    names = [each["runs"] for each in record["beside"]]
    assert ["backprop, digits-slots, seed 0", "backprop, seed 0"] in names
    first = audit(asked("Sure"), [tmp_path / "slots", compared], tmp_path / "b", progress=QUIET)
    assert [run["rule"] for run in first["runs"][:2]] == ["backprop, digits-slots", "backprop"]
    assert first["task"]["name"] == "digits-mlp"  # that of most runs


def test_damaged_runs_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(RunSpec(task="digits-mlp", epochs=1, measures=()), folder, progress=QUIET)
    record = read_json(folder / "record.json") or {}
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(weights[:-1] + b"x")
    run = found([folder])[0]
    with pytest.raises(StorageError):
        run.audited(None).build()
    write_json(folder / "record.json", {k: v for k, v in record.items() if k != "weights_sha256"})
    with pytest.raises(StorageError, match="digest"):
        found([folder])


def test_runs_of_one_seed_stand_beside_backprop_alone(compared: Path) -> None:
    runs = [run for run in found([compared]) if run.rule != "backprop" and run.seed == 0]
    assert pairs(runs) == []


def test_the_command_shows_every_rule(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", str(compared), "--output", str(tmp_path / "a"), "--sections"]
    words.append("[{section: forgetting, epochs: 1}, " + f"'{ME}Lacking']")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "audit of digits-mlp, seeds 0, 1" in said
    for rule in ("backprop", "dfa", "frozen"):
        assert any(line.startswith(rule) and line.count("±") == 5 for line in said.splitlines())
    assert "forgotten: fall of the scores from their best" in said
    assert f"lacking: 'lacking' needs no_such_package: {install('audit')}" in said
    assert main([*words, "--resume"]) == 0
    assert main(["list", "forgetting"]) == 0
    assert "pairs" in capsys.readouterr().out
