"""Where a task's error is taken, the data of each seed, and what the linear control sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from experiment_tasks import BLOBS, blobs, network
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.cli import main
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, RunSpec, compare, train
from beyondprop.tasks import Data, Split, Task, attached

SPEC = CompareSpec(
    rules=("backprop", "dfa", "frozen"),
    seeds=(0, 1),
    learning_rates=(0.01,),
    measure_cost=False,
    measures=(),
    epochs=1,
)
BEFORE_HEAD = replace(BLOBS, output="3")
"""The error is taken at the second hidden layer, (12,), and not at the logits, (3,)."""


def test_the_error_is_taken_where_the_task_says() -> None:
    torch.manual_seed(0)
    model = network()
    handle = attached(BEFORE_HEAD, model, bp.DirectFeedbackAlignment(), None)
    x, y = blobs().train.batch(slice(8))
    with handle.targets(y):
        BEFORE_HEAD.loss(model.eval()(x), y).backward()
    assert [block.name for block in handle.blocks] == ["0", "3"]
    assert handle.blocks[-1].rule.name == "backprop"


def test_a_comparison_attaches_there_and_solves_what_is_behind(tmp_path: Path) -> None:
    task = replace(BLOBS, model=Behind, blocks=("first", "second"), output="norm")
    found = compare(SPEC, tmp_path / "c", task=task)
    frozen = [run for run in found["runs"] if run["rule"]["name"] == "frozen"]
    assert all(run["head"]["converged"] is True for run in frozen)
    direct = next(run for run in found["runs"] if run["rule"]["name"] == "dfa")
    assert "the error is taken at the output of norm" in direct["rule"]["report"]


class Behind(nn.Module):
    """A network in which all that learns behind the output is one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 12), nn.Linear(12, 12)
        self.norm = nn.LayerNorm(12, elementwise_affine=False)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.second(self.first(x).relu()).relu()))
        return out


def test_axes_are_those_of_the_task() -> None:
    named = replace(BLOBS, axes="batch features")
    handle = attached(named, network(), bp.DirectFeedbackAlignment(), None)
    assert {block.axes.words for block in handle.blocks} == {"batch features"}


def halves(data: Data, seed: int) -> Data:
    """Return half of the training samples, others for each seed."""
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    return replace(data, train=data.train.some(order[:30]))


def test_each_seed_has_its_own_data_and_all_rules_have_the_same(tmp_path: Path) -> None:
    drawn = replace(BLOBS, split=halves)
    found = compare(SPEC, tmp_path / "c", task=drawn)
    assert found["task"]["train"] == 30
    linear = {r["seed"]: r for r in found["runs"] if r["rule"]["name"] == "linear"}
    assert linear[0]["weights_sha256"] != linear[1]["weights_sha256"]
    for run in found["runs"]:
        assert run["status"] == "finished"
        assert run["task"]["train"] == 30
    alone = train(
        RunSpec(rule="backprop", seed=1, learning_rate=0.01, epochs=1, measures=()),
        tmp_path / "r",
        task=drawn,
    )
    same = next(r for r in found["runs"] if (r["rule"]["name"], r["seed"]) == ("backprop", 1))
    assert alone["weights_sha256"] == same["weights_sha256"]
    by_hand = compare(
        replace(SPEC, seeds=(1,)),
        tmp_path / "h",
        task=replace(BLOBS, load=lambda folder: halves(blobs(folder), 1)),
    )
    for run in by_hand["runs"]:
        own = (run["rule"]["name"], run["seed"])
        twin = next(r for r in found["runs"] if (r["rule"]["name"], r["seed"]) == own)
        assert run["weights_sha256"] == twin["weights_sha256"], own


def test_a_split_that_is_none_is_named(tmp_path: Path) -> None:
    for wrong in (lambda data, _: data.train, lambda _data, _seed: 1 / 0):
        with pytest.raises(UserError, match="split"):
            train(RunSpec(measures=()), tmp_path / "r", task=replace(BLOBS, split=wrong))


def as_codes(folder: Path | None) -> Data:
    return blobs(folder).mapped(coded)


def coded(part: Any) -> Split:
    return Split(part.inputs.gt(0).long(), part.targets)


def real(codes: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(codes, 2).float()


class Codes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, codes: Tensor) -> Tensor:
        out: Tensor = self.inner(codes.float())
        return out


def of_codes(**fields: Any) -> Task:
    given = {"load": as_codes, "model": Codes, "blocks": ("inner.0", "inner.3", "inner.5")}
    return replace(BLOBS, **given | fields)


def test_the_linear_control_sees_the_features_that_a_task_names(tmp_path: Path) -> None:
    without = compare(SPEC, tmp_path / "w", task=of_codes())
    assert "int64" in without["no_linear"]
    found = compare(SPEC, tmp_path / "c", task=of_codes(features=real))
    assert found["no_linear"] is None
    linear = next(run for run in found["runs"] if run["rule"]["name"] == "linear")
    assert linear["parameters"] == 8 * 3 + 3


def test_features_that_fail_are_the_reason_for_no_linear_model(tmp_path: Path) -> None:
    def failing(codes: Tensor) -> Tensor:
        raise ValueError(f"no features of {tuple(codes.shape)}")

    found = compare(SPEC, tmp_path / "c", task=of_codes(features=failing))
    assert "no features of (1, 4)" in found["no_linear"]
    assert all(run["status"] == "finished" for run in found["runs"])


def test_check_takes_output_and_axes_of_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "test_experiment_task_fields:BEFORE_HEAD", "--rule", "dfa"]) == 0
    assert "3" in capsys.readouterr().out
