"""A search for a rule's settings."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from experiment_tasks import BLOBS, EXPLODING
from rich.progress import Progress
from test_experiment_jobs import without_times

from beyondprop.cli.app import main, parser
from beyondprop.cli.parser import spec_of
from beyondprop.errors import UserError, install
from beyondprop.experiment import CompareSpec, RunSpec, fit, train
from beyondprop.experiment.axes import Axis
from beyondprop.experiment.study import best, study, suggested
from beyondprop.experiment.study_spec import RATE, StudySpec
from beyondprop.files import StorageError, read_json

SPEC = StudySpec(task="experiment_tasks:BLOBS", rule="pepita", trials=4, epochs=1)
QUIET = Progress(disable=True)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    seed = fit.checkpoint.seed_generators
    monkeypatch.setattr(
        fit.checkpoint, "seed_generators", lambda number: (found.append(number), seed(number))[1]
    )
    return found


def test_without_optuna_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not installed
    with pytest.raises(UserError, match=re.escape(install("tune"))):
        study(SPEC, tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"trials": 0}, "trials must be at least 1, not 0"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"seed": -1}, "seed must be between 0"),
        ({"rule": "frozen"}, "there is nothing to search for frozen"),
    ],
)
def test_what_no_search_can_have_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        StudySpec(**fields)


def test_a_run_has_the_arguments_that_are_given_and_those_that_are_searched() -> None:
    given = StudySpec(rule={"pc": {"steps": 3}})
    assert given.run({RATE: 0.1, "rate": 0.2}) == RunSpec(
        rule={"rule": "pc", "steps": 3, "rate": 0.2}, seed=1000, learning_rate=0.1, measures=()
    )
    assert StudySpec(rule="fa").run({RATE: 0.1}).rule == "fa"


def test_the_best_is_of_the_finished_and_the_first_of_equals() -> None:
    def trial(status: str, score: float | None, number: int) -> dict[str, Any]:
        return {"status": status, "validation_score": score, "number": number}

    trials = [trial("failed", None, 0), trial("finished", 0.5, 1), trial("finished", 0.5, 2)]
    assert best(trials) == trials[1]
    assert best(trials[:1]) is None


@pytest.mark.foreign
class TestSearch:
    """With optuna."""

    @pytest.fixture(autouse=True)
    def optuna(self) -> None:
        pytest.importorskip("optuna")

    def test_it_leaves_all_trials_and_the_best_ones_settings(self, tmp_path: Path) -> None:
        found = study(SPEC, tmp_path / "t", progress=QUIET)
        assert found == read_json(tmp_path / "t" / "study.json")
        assert [set(trial["setting"]) for trial in found["trials"]] == [{"scale", RATE}] * 4
        assert found["trials"][0]["setting"] == {"scale": 0.05, RATE: BLOBS.learning_rate}
        scores = [trial["validation_score"] for trial in found["trials"]]
        assert found["best"]["validation_score"] == max(scores)
        words = ["train", "--config", str(tmp_path / "t" / "train.yaml")]
        again = spec_of(RunSpec, parser().parse_args(words).train)
        setting = dict(found["best"]["setting"])
        assert again.learning_rate == setting.pop(RATE)
        assert again.rule == {"rule": "pepita"} | setting
        record = train(replace(again, seed=SPEC.seed), tmp_path / "r", progress=QUIET)
        assert record["curve"][-1]["validation_score"] == max(scores)
        words = ["compare", "--config", str(tmp_path / "t" / "compare.yaml")]
        compared = spec_of(CompareSpec, parser().parse_args(words).compare)
        assert compared.rules == ("backprop", again.rule, "frozen")

    def test_the_test_split_is_not_looked_at(self, tmp_path: Path) -> None:
        def load(folder: Path | None) -> Any:
            data = BLOBS.load(folder)
            return replace(data, test=replace(data.test, targets=data.test.targets * 0))

        blind = study(SPEC, tmp_path / "a", task=replace(BLOBS, load=load), progress=QUIET)
        assert blind["trials"] == study(SPEC, tmp_path / "b", task=BLOBS, progress=QUIET)["trials"]

    def test_a_search_that_was_broken_off_goes_on_as_it_would_have(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = study(SPEC, tmp_path / "whole", progress=QUIET)
        done: list[int] = []

        def broken(*arguments: Any) -> fit.Fit:
            done.append(0)
            if len(done) == 3:
                raise KeyboardInterrupt
            return fit.fit(*arguments)

        monkeypatch.setattr("beyondprop.experiment.study.fit", broken)
        with pytest.raises(KeyboardInterrupt):
            study(SPEC, tmp_path / "t", progress=QUIET)
        monkeypatch.undo()
        with pytest.raises(UserError, match="add resume=True"):
            study(SPEC, tmp_path / "t", progress=QUIET)
        found = study(SPEC, tmp_path / "t", resume=True, progress=QUIET)
        assert without_times(found) == without_times(whole)
        assert len(done) == 3

    def test_more_trials_are_added_and_nothing_is_done_again(
        self, tmp_path: Path, trained: list[int]
    ) -> None:
        first = study(replace(SPEC, trials=2), tmp_path / "t", progress=QUIET)
        trained.clear()
        found = study(SPEC, tmp_path / "t", resume=True, progress=QUIET)
        assert len(trained) == 2
        assert found["trials"][:2] == first["trials"]
        other = replace(SPEC, rule="fa")
        with pytest.raises(UserError, match="made with other settings: rule"):
            study(other, tmp_path / "t", resume=True, progress=QUIET)

    def test_a_changed_trial_is_named(self, tmp_path: Path) -> None:
        study(replace(SPEC, trials=1), tmp_path / "t", progress=QUIET)
        file = tmp_path / "t" / "trials" / "0000" / "trial.json"
        file.write_text(file.read_text().replace("finished", "diverged"))
        with pytest.raises(StorageError, match=r"0000/trial.json is damaged"):
            study(SPEC, tmp_path / "t", resume=True, progress=QUIET)

    def test_it_goes_where_the_scores_are_better(self) -> None:
        axes = {"x": Axis(0.001, 10.0, 0.001, logarithmic=True), "n": Axis(1, 9, 1, whole=True)}
        made: list[dict[str, Any]] = []
        for number in range(40):
            setting = suggested(axes, [], made, number)
            assert isinstance(setting["n"], int)
            over = setting["x"] > 5  # diverges
            status = "diverged" if over else "finished"
            score = None if over else -abs(setting["x"] - 1) - abs(setting["n"] - 6) / 10
            made.append({"setting": setting, "status": status, "validation_score": score})
        found = best(made)
        assert found is not None
        assert found["validation_score"] > -0.3

    def test_it_chooses_among_optimizers(self, tmp_path: Path) -> None:
        decay = {"optimizer": "sgd", "weight_decay": 1e-3}
        spec = replace(SPEC, rule="fa", optimizers=("adam", decay), trials=6)
        found = study(spec, tmp_path / "t", progress=QUIET)
        tried = [trial["setting"]["optimizer"] for trial in found["trials"]]
        assert (tried[0], found["trials"][0]["setting"][RATE]) == ("adam", 1e-3)
        assert set(tried) == {"adam", "sgd(weight_decay=0.001)"}
        words = ["train", "--config", str(tmp_path / "t" / "train.yaml")]
        again = spec_of(RunSpec, parser().parse_args(words).train)
        chosen = found["best"]["setting"]["optimizer"]
        assert again.optimizer == {"adam": "adam"}.get(chosen, decay)
        record = train(replace(again, seed=SPEC.seed), tmp_path / "r", progress=QUIET)
        score = found["best"]["validation_score"]
        assert record["curve"][-1]["validation_score"] == score
        words = ["compare", "--config", str(tmp_path / "t" / "compare.yaml")]
        compared = spec_of(CompareSpec, parser().parse_args(words).compare)
        assert compared.optimizers == ("adam", decay)

    def test_the_command_says_what_is_best_and_how_to_use_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(Path(__file__).parent))
        few = ["--trials", "2", "--epochs", "1"]
        assert main(["tune", "--task", SPEC.task, "--rule", "fa", *few]) == 0
        said = capsys.readouterr().out
        folder = "runs/tune-experiment_tasks-BLOBS-fa"
        assert "best of 2 trials: validation score" in said
        assert f"beyondprop train --config {folder}/train.yaml" in said
        assert f"beyondprop compare --config {folder}/compare.yaml" in said
        found = study(
            replace(SPEC, rule="backprop", trials=1), tmp_path / "x", task=EXPLODING, progress=QUIET
        )
        assert (found["trials"][0]["status"], found["best"]) == ("diverged", None)
