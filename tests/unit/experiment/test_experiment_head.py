"""Frozen hidden blocks with a last layer that is solved, and where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from experiment_tasks import BLOBS, blobs
from safetensors.torch import load_file
from torch import Tensor, nn

from beyondprop.experiment import RunSpec, train
from beyondprop.tasks import Data, Split, Task
from beyondprop.tasks.digits import DIGITS_MLP
from beyondprop.tasks.goodness import DIGITS_GOODNESS
from beyondprop.tasks.slot_machines import DIGITS_SLOTS

FROZEN = RunSpec(rule="frozen", measures=())


def test_the_last_layer_is_solved_and_the_record_says_how(run_folder: Path) -> None:
    record = train(FROZEN, run_folder, task=BLOBS)
    head = record["head"]
    assert head["converged"] is True
    assert head["gradient_norm"] < 1e-4
    assert head["penalties"][0] <= head["penalty"] <= head["penalties"][1]
    assert (head["features"], head["samples"]) == (12, 60)
    assert head["iterations"] > 0
    assert record["learning_rate"] is None
    assert [(p["epoch"], p["step"]) for p in record["curve"]] == [(0, 0), (1, 1)]
    assert record["curve"][1]["train_loss"] < record["curve"][0]["validation_loss"]
    files = {file.name for file in run_folder.iterdir()}
    assert files == {"spec.json", "record.json", "metrics.jsonl", "weights.safetensors"}
    assert len((run_folder / "metrics.jsonl").read_text().splitlines()) == 3


def test_the_weights_have_the_loss_that_is_recorded(run_folder: Path) -> None:
    record = train(FROZEN, run_folder, task=BLOBS)
    model, data = BLOBS.model(), blobs()
    model.load_state_dict(load_file(run_folder / "weights.safetensors"))
    with torch.no_grad():
        loss = F.cross_entropy(model.eval()(data.train.inputs), data.train.targets)
    assert loss.item() == pytest.approx(record["curve"][1]["train_loss"], rel=1e-5)


def test_a_run_killed_before_its_record_is_solved_again(run_folder: Path) -> None:
    first = train(FROZEN, run_folder, task=BLOBS)
    (run_folder / "record.json").unlink()
    again = train(FROZEN, run_folder, resume=True, task=BLOBS)
    assert again["weights_sha256"] == first["weights_sha256"]
    assert again["head"] == first["head"]


def test_the_test_split_is_not_looked_at(run_folder: Path) -> None:
    def tested(outputs: Tensor, targets: Tensor) -> float:
        seen.append(len(outputs))
        return -F.cross_entropy(outputs, targets).item()

    seen: list[int] = []
    data = blobs()
    shorter = Data("blobs", data.train, data.validation, Split(*(t[:29] for t in part(data.test))))
    train(FROZEN, run_folder, task=replace(BLOBS, load=lambda _: shorter, metric=tested))
    assert seen.count(29) == 1  # at the end


def part(split: Split) -> tuple[Tensor, Tensor]:
    return split.inputs, split.targets


class Named(nn.Module):
    """A network whose last layer is followed by something, as `end` says."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.hidden, self.out, self.end = nn.Linear(4, 12), nn.Linear(12, 3), end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.out(self.hidden(x).tanh()))


def squashed() -> nn.Module:
    return Named(torch.sigmoid)


def zero_and_squashed() -> nn.Module:
    model = Named(torch.tanh)
    nn.init.zeros_(model.out.weight)
    nn.init.zeros_(model.out.bias)
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


def still() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 3))
    model[2].bias.requires_grad_(False)
    return model


def two_at_the_end() -> nn.Module:
    end = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), end)


class BesideTheHead(nn.Module):
    """What makes the inputs of a frozen block is in one block with the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.hidden, self.out = nn.Linear(4, 6), nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.hidden(self.before(x)).tanh())
        return out


def test_what_no_error_reaches_does_not_learn_beside_the_last_layer(run_folder: Path) -> None:
    task = replace(BLOBS, model=BesideTheHead, blocks=["hidden", ("before", "out")])
    record = train(FROZEN, run_folder, task=task)
    assert record["head"]["converged"] is True
    assert record["trained_parameters"] == record["head"]["parameters"] == 12 * 3 + 3


def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, weight=torch.ones(3))


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (
            replace(BLOBS, model=lambda: Named(torch.sigmoid), blocks=["hidden", "out"]),
            "does not return the outputs of its last",
        ),
        (
            replace(BLOBS, model=zero_and_squashed, blocks=["hidden", "out"]),
            "does not return the outputs of its last",
        ),
        (replace(BLOBS, model=tied), "shares its weight with another layer"),
        (replace(BLOBS, model=still), "are not those of a single nn.Linear"),
        (
            replace(BLOBS, model=two_at_the_end, blocks=["0", "2"]),
            "are not those of a single nn.Linear",
        ),
        (replace(BLOBS, loss=weighted), "the loss fails in double precision"),
        (DIGITS_GOODNESS, "right with wrong answers"),
        (DIGITS_SLOTS, "among fixed values (slots)"),
    ],
    ids=[
        "sigmoid",
        "zeros",
        "tied",
        "no bias",
        "two layers",
        "single precision",
        "contrast",
        "slots",
    ],
)
def test_a_head_that_cannot_be_solved_is_trained_and_told(
    task: Task, why: str, run_folder: Path
) -> None:
    record = train(replace(FROZEN, epochs=1), run_folder, task=task)
    assert record["head"].startswith("trained by steps: ")
    assert why in record["head"]
    assert record["learning_rate"] == task.learning_rate


def test_under_another_schedule_it_is_trained_by_steps(run_folder: Path) -> None:
    record = train(replace(FROZEN, schedule="immediate"), run_folder, task=BLOBS)
    assert record["head"] == "trained by steps: the schedule is immediate"


def test_a_rule_that_teaches_hidden_blocks_has_no_head(run_folder: Path) -> None:
    record = train(RunSpec(rule="dfa", measures=()), run_folder, task=BLOBS)
    assert record["head"] is None


def test_outputs_that_are_reshaped_are_solved(run_folder: Path) -> None:
    def load(folder: Path | None) -> Data:
        data = blobs(folder)
        parts = (data.train, data.validation, data.test)
        return Data("sums", *(Split(p.inputs, p.inputs.sum(1)) for p in parts))

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).squeeze(-1)

    def negative(outputs: Tensor, targets: Tensor) -> float:
        return -F.mse_loss(outputs, targets).item()

    task = replace(BLOBS, load=load, model=Sum, loss=F.mse_loss, metric=negative)
    task = replace(task, blocks=["net.0", "net.2"])
    record = train(FROZEN, run_folder, task=task)
    assert record["head"]["converged"] is True
    assert record["curve"][1]["validation_score"] > 0.1 * record["curve"][0]["validation_score"]


def test_batch_norms_are_settled_first(run_folder: Path) -> None:
    def normed() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))

    data = blobs()
    train(FROZEN, run_folder, task=replace(BLOBS, model=normed, load=lambda _: data))
    model = normed()
    model.load_state_dict(load_file(run_folder / "weights.safetensors"))
    with torch.no_grad():
        mean = model[0](data.train.inputs).mean(0)
    assert model[1].num_batches_tracked == 4
    assert torch.allclose(model[1].running_mean, mean, atol=0.2)


def test_augmented_copies_are_solved_beside_the_plain_ones(run_folder: Path) -> None:
    def shifted(inputs: Tensor) -> Tensor:
        return inputs + 0.1 * torch.randn(inputs.shape)

    record = train(FROZEN, run_folder, task=replace(BLOBS, augment=shifted))
    assert record["head"]["samples"] == 5 * 60


@pytest.mark.slow
def test_no_training_by_steps_reaches_a_lower_objective_on_digits(tmp_path: Path) -> None:
    """Three times the steps, at three rates, end above the converged layer."""
    solved = train(FROZEN, tmp_path / "solved", task=DIGITS_MLP)
    data = DIGITS_MLP.load(None)
    torch.manual_seed(0)
    model = DIGITS_MLP.model()
    with torch.no_grad():
        features = model[:-1](data.train.inputs)
    deviation = features.std(0, correction=0)
    penalty = solved["head"]["penalty"]

    def objective(layer: nn.Module) -> Tensor:
        loss = F.cross_entropy(layer(features), data.train.targets)
        return loss + penalty / 2 * (layer.weight * deviation).square().sum()

    end = load_file(tmp_path / "solved" / "weights.safetensors")
    best = nn.Linear(128, 10)
    best.load_state_dict({"weight": end["6.weight"], "bias": end["6.bias"]})
    reached = []
    for rate in (3e-3, 1e-2, 3e-2):
        layer = nn.Linear(128, 10)
        optimizer = torch.optim.Adam(layer.parameters(), lr=rate)
        steps = 3 * DIGITS_MLP.epochs * 20
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            optimizer.zero_grad()
            objective(layer).backward()
            optimizer.step()
        reached.append(objective(layer).item())
    assert objective(best).item() <= min(reached) + 1e-6
    json.dumps(solved, allow_nan=False)
