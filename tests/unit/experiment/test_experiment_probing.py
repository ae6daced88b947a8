"""What a run's record says of its blocks: probed on training and validation samples alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from experiment_tasks import BLOBS, EXPLODING, blobs, network
from safetensors.torch import load_file
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.experiment import (
    RunSpec,
    assess,
    probing,
    train,
)
from beyondprop.measure import linear_probe
from beyondprop.tasks import Data, Split


def split_of(inputs: Tensor, targets: Tensor, rows: Tensor) -> Split:
    return Split(inputs[rows], targets[rows])


@pytest.mark.parametrize("most", [5000, 20])
def test_the_record_says_what_the_last_weights_have_learned(
    most: int, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "SAMPLES", most)
    train(RunSpec(rule="dfa", seed=3), run_folder, task=BLOBS)
    record = json.loads((run_folder / "record.json").read_text())
    assert list(record["probe"]) == ["input", "0", "3", "5"]
    assert record["probe_failure"] is None

    model, data = network(), blobs()
    model.load_state_dict(load_file(run_folder / "weights.safetensors"))
    rows, others = assess.order(3, 0, 60)[:most], assess.order(3, 0, 30)[:most]
    seen = split_of(data.train.inputs, data.train.targets, rows)
    asked = split_of(data.validation.inputs, data.validation.targets, others)
    assert record["probe"] == linear_probe(bp.attach(model, bp.Backprop()), seen, asked)


def test_the_test_split_is_not_looked_at(run_folder: Path, tmp_path: Path) -> None:
    def other_test(folder: Path | None) -> Data:
        data = blobs(folder)
        return replace(data, test=Split(-data.test.inputs, data.test.targets))

    spec = RunSpec(rule="dfa", seed=3)
    ours = train(spec, run_folder, task=BLOBS)
    theirs = train(spec, tmp_path / "other", task=replace(BLOBS, load=other_test))
    assert ours["test"] != theirs["test"]
    assert ours["probe"] == theirs["probe"]


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
        (lambda: nn.Sequential(Swapped(), Back()), "block '0' puts out (12, 60) for 60 samples"),
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
    assert record["probe"] is None
    assert record["probe_failure"].startswith(why)


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
        assert (record["probe"], record["probe_failure"]) == (None, None)


def test_the_weights_and_what_comes_after_are_as_without(run_folder: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    train(RunSpec(rule="dfa", seed=3), run_folder, task=BLOBS)
    assert torch.equal(torch.get_rng_state(), before)
