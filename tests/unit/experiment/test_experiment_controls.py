"""The linear model on the inputs, chance, and how a comparison keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from experiment_tasks import BLOBS, blobs
from torch import Tensor, nn

from beyondprop.experiment import CompareSpec, compare, solver
from beyondprop.experiment.chance import constant_score
from beyondprop.experiment.table import legend
from beyondprop.files import read_json
from beyondprop.tasks import Data, Split, accuracy

SPEC = CompareSpec(
    rules=("backprop", "frozen"),
    seeds=(0, 1),
    learning_rates=(0.01,),
    measure_cost=False,
    measures=(),
    epochs=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("controls")
    compare(SPEC, made, task=BLOBS)
    return made


@pytest.fixture
def found(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = read_json(folder / "comparison.json") or {}
    return read


def linear_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [run for run in found["runs"] if run["rule"]["name"] == "linear"]


def test_the_linear_model_has_a_row_and_a_record_for_each_seed(
    found: dict[str, Any], folder: Path
) -> None:
    row = found["rows"][-1]
    assert (row["rule"], row["runs"], row["finished"]) == ("linear", 2, 2)
    assert found["no_linear"] is None
    first, second = linear_of(found)
    assert (first["seed"], second["seed"]) == (0, 1)
    for run in (first, second):
        at = folder / "runs" / f"linear-seed{run['seed']}"
        assert read_json(at / "record.json") == run
        assert {file.name for file in at.iterdir()} == {
            "spec.json",
            "record.json",
            "weights.safetensors",
        }
    assert first["head"]["converged"] is True
    assert first["parameters"] == 4 * 3 + 3
    assert first["test"]["score"] == row["score_mean"]
    assert row.get("step_ratio") is None


def test_frozen_needs_no_trials(found: dict[str, Any]) -> None:
    assert found["tuning"]["chosen"] == {"backprop": 0.01, "frozen": None}
    assert "frozen" not in legend(found).splitlines()[-1]


def test_resuming_keeps_the_linear_model_and_adds_its_seeds(
    found: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    assert compare(SPEC, folder, resume=True, task=BLOBS) == found
    small = replace(SPEC, seeds=(0,))
    first = compare(small, tmp_path / "c", task=BLOBS)
    more = compare(replace(SPEC, seeds=(1,)), tmp_path / "c", resume=True, task=BLOBS)
    assert linear_of(more)[0] == linear_of(first)[0]
    assert [run["seed"] for run in linear_of(more)] == [0, 1]
    assert [row["runs"] for row in more["rows"]] == [2, 2, 2]


def test_a_linear_model_that_fails_is_tried_again(tmp_path: Path) -> None:
    failing = True

    def metric(outputs: Tensor, targets: Tensor) -> float:
        if failing and outputs.dtype == torch.float64 and len(targets) == 30:
            raise MemoryError("no room")
        return (outputs.argmax(1) == targets).double().mean().item()

    spec, task = replace(SPEC, rules=("backprop",)), replace(BLOBS, metric=metric)
    first = compare(spec, tmp_path / "c", task=task)
    assert [run["status"] for run in linear_of(first)] == ["failed", "failed"]
    assert "no room" in linear_of(first)[0]["reason"]
    assert first["rows"][-1]["score_mean"] is None
    failing = False
    again = compare(spec, tmp_path / "c", resume=True, task=task)
    assert [run["status"] for run in linear_of(again)] == ["finished", "finished"]


def numbers(folder: Path | None) -> Data:
    data = blobs(folder)
    parts = (data.train, data.validation, data.test)
    return Data("n", *(Split(p.inputs.abs().long().clamp(max=9), p.targets) for p in parts))


def of_tokens(folder: Path | None) -> Data:
    data = blobs(folder)
    parts = (data.train, data.validation, data.test)
    return Data("t", *(Split(p.inputs, p.targets[:, None].repeat(1, 4)) for p in parts))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(1, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x[..., None]).tanh())


def one_row_each(inputs: Tensor) -> Tensor:
    return inputs[..., None]  # (n, positions, width)


def loss_at_positions(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def embedded() -> nn.Module:
    return nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (replace(BLOBS, load=numbers, model=embedded), "inputs would be int64"),
        (
            replace(
                BLOBS,
                load=of_tokens,
                model=Tokens,
                loss=loss_at_positions,
                metric=lambda o, t: (o.argmax(-1) == t).double().mean().item(),
            ),
            "outputs are (4, 3) per sample",
        ),
    ],
    ids=["whole numbers", "tokens"],
)
def test_where_there_is_no_linear_model_the_record_says_why(
    task: Any, why: str, tmp_path: Path
) -> None:
    found = compare(replace(SPEC, seeds=(0,)), tmp_path / "c", task=task)
    assert [row["rule"] for row in found["rows"]] == ["backprop", "frozen"]
    assert why in found["no_linear"]
    assert why in legend(found)
    assert found["chance"]["of"] == "the best constant output"


def test_at_positions_the_linear_model_is_one_layer_on_the_features_of_each(tmp_path: Path) -> None:
    task = replace(
        BLOBS,
        load=of_tokens,
        model=Tokens,
        loss=loss_at_positions,
        metric=lambda o, t: (o.argmax(-1) == t).double().mean().item(),
        features=one_row_each,
    )
    found = compare(replace(SPEC, seeds=(0,)), tmp_path / "c", task=task)
    (run,) = linear_of(found)
    assert run["parameters"] == 1 * 3 + 3
    data = of_tokens(None)
    flat = [
        solver.Features(part.inputs.reshape(-1, 1), part.targets.flatten())
        for part in (data.train, data.validation)
    ]
    problem = solver.Problem(F.cross_entropy, accuracy, 3, torch.Size([3]))
    expected = solver.solve(problem, *flat)
    assert run["curve"][-1]["train_loss"] == pytest.approx(expected.train_loss)


def test_chance_is_the_score_of_the_most_frequent_class(tmp_path: Path) -> None:
    data = blobs()
    targets = torch.tensor([0] * 10 + [2] * 40 + [1] * 10)
    uneven = Data("u", Split(data.train.inputs, targets), data.validation, data.test, data.classes)
    found = compare(SPEC, tmp_path / "c", task=replace(BLOBS, load=lambda _: uneven))
    expected = (data.test.targets == 2).double().mean().item()
    assert found["chance"] == {"score": expected, "of": "the best constant output"}
    assert f"chance: {expected:.4f}" in legend(found)


def test_the_constant_is_scored_where_its_targets_are_and_in_the_precision_of_the_outputs() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def metric(outputs: Tensor, targets: Tensor) -> float:
        seen.append((outputs, targets))
        return 0.5

    def load(folder: Path | None) -> Data:
        return blobs(folder).mapped(
            lambda part: Split(part.batch(slice(None))[0].double(), part.batch(slice(None))[1])
        )

    task = replace(BLOBS, load=load, model=lambda: BLOBS.model().double(), metric=metric)
    assert constant_score(task, task.load(None), task.model()) == 0.5
    assert seen[-1][0].dtype == torch.float64


def test_a_linear_model_takes_inputs_of_another_precision(tmp_path: Path) -> None:
    def load(folder: Path | None) -> Data:
        return blobs(folder).mapped(
            lambda part: Split(part.batch(slice(None))[0].double(), part.batch(slice(None))[1])
        )

    task = replace(BLOBS, load=load, model=lambda: BLOBS.model().double())
    found = compare(replace(SPEC, rules=("backprop",)), tmp_path / "c", task=task)
    assert [run["status"] for run in linear_of(found)] == ["finished", "finished"]


def test_where_chance_cannot_be_scored_the_runs_keep_their_record(tmp_path: Path) -> None:
    def metric(outputs: Tensor, targets: Tensor) -> float:
        raise ValueError(f"no such score of {len(outputs)} and {len(targets)}")

    found = compare(SPEC, tmp_path / "c", task=replace(BLOBS, metric=metric))
    assert all(row["failed"] == 2 for row in found["rows"])
    assert found["chance"]["score"] is None
    assert "no such score" in found["chance"]["of"]
    assert "chance: –, not known" in legend(found)


def test_without_a_best_constant_chance_is_the_untrained_model(tmp_path: Path) -> None:
    def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, weight=torch.ones(3))

    found = compare(SPEC, tmp_path / "c", task=replace(BLOBS, loss=weighted))
    assert "the untrained model (the loss fails in double" in found["chance"]["of"]
    assert 0 <= found["chance"]["score"] <= 1
    frozen = next(run for run in found["runs"] if run["rule"]["name"] == "frozen")
    assert f"frozen is {frozen['head']}" in legend(found)


def test_a_loss_without_a_least_value_has_no_linear_model(tmp_path: Path) -> None:
    def unbounded(outputs: Tensor, targets: Tensor) -> Tensor:
        return -F.mse_loss(outputs, F.one_hot(targets, 3).to(outputs))

    found = compare(SPEC, tmp_path / "c", task=replace(BLOBS, loss=unbounded))
    assert {run["status"] for run in linear_of(found)} == {"failed"}
    assert "may have no least value" in linear_of(found)[0]["reason"]
