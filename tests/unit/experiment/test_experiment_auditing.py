"""Audits of trained runs: what is asked, kept, and set side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from rich.progress import Progress

from beyondprop.audit import Audited, Section
from beyondprop.cli import main
from beyondprop.errors import UserError
from beyondprop.experiment.audit_runs import found
from beyondprop.experiment.audit_spec import AuditSpec
from beyondprop.experiment.auditing import audit, pairs
from beyondprop.experiment.comparison import compare
from beyondprop.experiment.run import train
from beyondprop.experiment.spec import CompareSpec, RunSpec
from beyondprop.files import StorageError, read_json, write_json
from beyondprop.jobs import Workers
from beyondprop.tasks import Data, call, find

QUIET = Progress(disable=True)
ME = f"{__name__}:"


@dataclass(frozen=True)
class Sure(Section):
    """How sure a model is, and how far two agree."""

    name: ClassVar[str] = "sure"
    question: ClassVar[str] = "How sure is it?"
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
        assert "beyondprop[audit]" in run["answers"]["lacking"]["failed"]
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
    with pytest.raises(UserError, match="--resume"):
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


def test_other_weights_are_asked_again(tmp_path: Path) -> None:
    spec = RunSpec(task="digits-mlp", rule="dfa", epochs=1, measures=())
    train(spec, tmp_path / "one", progress=QUIET)
    audit(asked("Sure"), [tmp_path / "one"], tmp_path / "a", progress=QUIET)
    train(replace(spec, learning_rate=3e-3), tmp_path / "two", progress=QUIET)
    again = audit(asked("Sure"), [tmp_path / "two"], tmp_path / "a", resume=True, progress=QUIET)
    one, two = (found([tmp_path / name])[0] for name in ("one", "two"))
    assert again["runs"][0]["weights_sha256"] == two.digest != one.digest


def test_what_cannot_be_audited_is_told(compared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished run"):
        audit(asked("Sure"), [tmp_path], tmp_path / "a", progress=QUIET)
    with pytest.raises(UserError, match="unknown section"):
        audit(AuditSpec(sections=("none",)), [compared], tmp_path / "a", progress=QUIET)
    with pytest.raises(UserError, match="named twice"):
        audit(asked("Sure", "Sure"), [compared], tmp_path / "a", progress=QUIET)
    with pytest.raises(UserError, match="there twice"):
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
    assert "forgotten: how far scores fell from their best" in said
    assert "lacking: 'lacking' needs no_such_package: pip install 'beyondprop[audit]'" in said
    assert main([*words, "--resume"]) == 0
    assert main(["list", "forgetting"]) == 0
    assert "pairs" in capsys.readouterr().out
