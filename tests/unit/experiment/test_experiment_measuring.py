"""What a run's record says of its measures: of training and validation samples alone."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from experiment_tasks import BLOBS, EXPLODING, blobs, network
from safetensors.torch import load_file
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.experiment import (
    RunSpec,
    assess,
    measuring,
    train,
)
from beyondprop.experiment.summary import summarise
from beyondprop.measure import (
    MEASURES,
    Column,
    Figures,
    Measure,
    MeasureTraits,
    Subject,
    find_all,
    linear_probe,
)
from beyondprop.tasks import Data, Split


def split_of(inputs: Tensor, targets: Tensor, rows: Tensor) -> Split:
    return Split(inputs[rows], targets[rows])


@pytest.mark.parametrize("most", [5000, 20])
def test_the_record_says_what_the_last_weights_have_learned(
    most: int, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assess, "SAMPLES", most)
    train(RunSpec(rule="dfa", seed=3), run_folder, task=BLOBS)
    record = json.loads((run_folder / "record.json").read_text())
    probed = record["measures"]["probe"]["blocks"]["accuracy"]
    assert list(probed) == ["input", "0", "3", "5"]
    assert "failure" not in record["measures"]["probe"]

    model, data = network(), blobs()
    model.load_state_dict(load_file(run_folder / "weights.safetensors"))
    rows, others = assess.order(3, 0, 60)[:most], assess.order(3, 0, 30)[:most]
    seen = split_of(data.train.inputs, data.train.targets, rows)
    asked = split_of(data.validation.inputs, data.validation.targets, others)
    assert probed == linear_probe(bp.attach(model, bp.Backprop()), seen, asked)


def test_the_test_split_is_not_looked_at(run_folder: Path, tmp_path: Path) -> None:
    def other_test(folder: Path | None) -> Data:
        data = blobs(folder)
        return replace(data, test=Split(-data.test.inputs, data.test.targets))

    spec = RunSpec(rule="dfa", seed=3)
    ours = train(spec, run_folder, task=BLOBS)
    theirs = train(spec, tmp_path / "other", task=replace(BLOBS, load=other_test))
    assert ours["test"] != theirs["test"]
    assert ours["measures"] == theirs["measures"]


class Swapped(nn.Module):
    """Puts the features first, as tokens first would be: no probe can tell the samples apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).T


class Back(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.T)


class Refuses(nn.Module):
    """Fails on batches of as many samples as the probe alone has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 60 and not self.training:
            raise ZeroDivisionError("sixty samples\nare too many")
        return self.layer(x)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: nn.Sequential(Swapped(), Back()), "block '0' returns (12, 60) for 60 samples"),
        (lambda: nn.Sequential(Refuses()), "ZeroDivisionError: sixty samples are too many"),
    ],
    ids=["refused", "broken"],
)
def test_a_probe_that_fails_is_recorded_and_the_run_stands(
    model: object, why: str, run_folder: Path
) -> None:
    record = train(RunSpec(rule="backprop"), run_folder, task=replace(BLOBS, model=model))
    assert record["status"] == "finished"
    assert record["test"]["score"] > 0
    assert "blocks" not in record["measures"]["probe"]
    assert record["measures"]["probe"]["failure"].startswith(why)


def test_without_classes_or_without_an_end_there_is_no_probe(
    run_folder: Path, tmp_path: Path
) -> None:
    def regression(folder: Path | None) -> Data:
        data = blobs(folder)
        parts = (data.train, data.validation, data.test)
        return Data("slopes", *(Split(p.inputs, p.inputs[:, :3]) for p in parts))

    def score(outputs: Tensor, targets: Tensor) -> float:
        return -nn.functional.mse_loss(outputs, targets).item()

    slopes = replace(BLOBS, load=regression, loss=nn.functional.mse_loss, metric=score)
    for task, folder in ((slopes, run_folder), (EXPLODING, tmp_path / "other")):
        record = train(RunSpec(rule="backprop"), folder, task=task)
        assert record["status"] == ("finished" if task is slopes else "diverged")
        assert list(record["measures"]) == ["alignment", "isolation"]


@pytest.mark.parametrize(("rule", "isolated"), [("dfa", True), ("fa", False), ("frozen", None)])
def test_every_record_has_the_verdict_of_isolation(
    rule: str, isolated: bool | None, run_folder: Path, tmp_path: Path
) -> None:
    record = train(RunSpec(rule=rule, seed=3), run_folder, task=BLOBS)
    found = record["measures"]["isolation"]
    assert found["values"]["isolated"] is isolated
    assert list(found["notes"]) == list(found["blocks"]["change"]) == ["0", "3", "5"]
    assert found["words"].endswith(".")
    broken = train(RunSpec(rule=rule, seed=3), tmp_path / "broken", task=EXPLODING)
    # The last layer of frozen is solved, whatever the learning rate.
    assert broken["status"] == ("finished" if rule == "frozen" else "diverged")
    assert broken["measures"]["isolation"]["values"] == found["values"]
    assert sum("isolation" in point["measures"] for point in record["curve"]) == 1


def test_alignment_is_told_with_the_norms_of_the_gradients(run_folder: Path) -> None:
    record = train(RunSpec(rule="dfa", seed=3), run_folder, task=BLOBS)
    for point in record["curve"]:
        found = point["measures"]["alignment"]
        assert set(found["blocks"]) == {"cosine", "gradient_norm"}
        assert min(found["blocks"]["gradient_norm"].values()) > 0
        assert "words" not in found
    last = record["measures"]["alignment"]
    assert last["blocks"] == found["blocks"]
    assert [column["key"] for column in last["columns"]] == ["alignment"]


class Widest(Measure):
    """The largest weight of each block."""

    name = "widest"
    title = "Largest weights"
    about = "How large the largest weight of each block is: a measure that somebody else wrote."
    traits = MeasureTraits(frozenset({"handle"}))
    columns = (Column("widest", "widest", "the largest weight of all", ".1f"),)
    block_columns = (Column("most", "largest weight"),)

    def run(self, subject: Subject) -> Figures:
        found = {
            block.name: max(p.abs().max().item() for _, p in block.parameters())
            for block in subject.handle.blocks
        }
        return Figures({"widest": max(found.values())}, {"most": found})


class Fails(Widest):
    """Always fails."""

    def run(self, subject: Subject) -> Figures:  # noqa: ARG002
        raise ZeroDivisionError("nothing\nto see")


def test_anybodys_measure_is_taken_and_one_that_fails_is_recorded() -> None:
    handle = bp.attach(network(), bp.Backprop())
    names = ["alignment", f"{__name__}:Widest"]
    found = measuring.of_run(Subject(handle=handle), [], True, names)
    assert list(found) == ["widest"]  # the other lacks a batch
    assert found["widest"]["values"]["widest"] == max(found["widest"]["blocks"]["most"].values())
    assert found["widest"]["title"] == "Largest weights"
    row = summarise(["x"], [{**RUN, "measures": found}], {}, names)[0]
    assert row["widest"] == found["widest"]["values"]["widest"]
    failed = measuring.of_run(Subject(handle=handle), [], True, [f"{__name__}:Fails"])
    why = r"ZeroDivisionError: nothing to see \(test_experiment_measuring\.py, line \d+\)"
    assert re.fullmatch(why, failed["widest"]["failure"])


class Careless(Measure):
    """Changes whatever it can lay hands on, every epoch."""

    name = "careless"
    title = "Careless"
    about = "What a measure must not do: a run goes on as if it had not been done."
    traits = MeasureTraits(frozenset({"handle", "inputs"}), each_epoch=True)

    def run(self, subject: Subject) -> Figures:
        model = subject.handle.model
        torch.randn(3)
        random.random()
        np.random.rand()  # noqa: NPY002
        model.eval() if model.training else model.train()
        first, *others = subject.handle.parameters() + list(model.parameters())
        model(subject.inputs).sum().backward()
        with torch.no_grad():
            first.add_(1)
        for each in others:
            each.data.mul_(2)
            each.data = each.data.double()
            each.grad = None
        for buffer in model.buffers():
            buffer.add_(1)
        first.requires_grad_(False)
        return Figures()


class Removes(Careless):
    """Takes the rule away."""

    def run(self, subject: Subject) -> Figures:
        subject.handle.remove()
        return Figures()


def test_a_careless_measure_changes_nothing_of_the_run(tmp_path: Path) -> None:
    def normed() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Linear(4, 12),
            torch.nn.BatchNorm1d(12),
            torch.nn.Dropout(0.2),
            torch.nn.ReLU(),
            torch.nn.Linear(12, 3),
        )

    task, own = replace(BLOBS, model=normed), f"{__name__}:Careless"
    for rule in ("backprop", "dkp"):
        spec = RunSpec(rule=rule, seed=3, measures=("alignment",))
        train(spec, tmp_path / rule, task=task)
        measured = replace(spec, measures=(own, "alignment"))
        record = train(measured, tmp_path / f"{rule}-measured", task=task)
        assert "failure" not in record["measures"]["careless"]
        alike = [
            (tmp_path / folder / "weights.safetensors").read_bytes()
            for folder in (rule, f"{rule}-measured")
        ]
        assert alike[0] == alike[1]


def test_a_measure_that_takes_the_rule_away_is_told(tmp_path: Path) -> None:
    spec = RunSpec(seed=3, measures=(f"{__name__}:Removes",))
    with pytest.raises(bp.UserError, match="the measure careless removed the rules from the model"):
        train(spec, tmp_path / "run", task=BLOBS)


RUN = {"rule": {"name": "x"}, "seed": 0, "status": "finished", "test": {"score": 1.0}, "curve": []}


def test_names_of_measures_are_checked() -> None:
    assert find_all(["alignment"])[0] is MEASURES["alignment"]
    with pytest.raises(bp.UserError, match="unknown measure 'aligment'"):
        find_all(["aligment"])
    with pytest.raises(bp.UserError, match="not a Measure"):
        find_all([f"{__name__}:RUN"])
    with pytest.raises(bp.UserError, match="two measures have a figure with the same name: widest"):
        find_all([f"{__name__}:Widest", f"{__name__}:Fails"])


def test_the_weights_and_what_comes_after_are_as_without(run_folder: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    train(RunSpec(rule="dfa", seed=3), run_folder, task=BLOBS)
    assert torch.equal(torch.get_rng_state(), before)
