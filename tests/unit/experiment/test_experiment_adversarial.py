"""Adversarial training, under any rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from experiment_tasks import BLOBS, NOISY
from safetensors.torch import load_file
from torch import Tensor, nn

import beyondprop as bp
from beyondprop import tasks
from beyondprop.audit.robustness import Ranges, robust_accuracy
from beyondprop.cli.app import parser
from beyondprop.cli.parser import spec_of
from beyondprop.errors import UserError
from beyondprop.experiment import Adversarial, RunSpec, train
from beyondprop.experiment.adversarial import Adversary
from beyondprop.experiment.pipeline_steps import PipelineSteps
from beyondprop.experiment.plan import plan_run
from beyondprop.experiment.storage import check_claim
from beyondprop.files import write_json
from beyondprop.tasks import Data, Split, Task
from beyondprop.tasks.goodness import DIGITS_GOODNESS

pytest.importorskip("captum")

SETTING = Adversarial(epsilon=0.1, steps=3)
SPEC = RunSpec(rule="fa", seed=3, measures=(), adversarial=SETTING)


class Killed(BaseException):
    """Not an error: nothing may catch it."""


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights.safetensors")


def adversary(model: nn.Module, task: Task = BLOBS) -> tuple[Adversary, Split]:
    data = task.load(None).train
    return Adversary(SETTING, task, model, data, torch.arange(16)), data


def test_the_inputs_are_the_worst_ones_of_a_linear_classifier() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    task = replace(BLOBS, model=lambda: model, loss=lambda o, t: (o[:, 0] * t).mean())
    made, data = adversary(model, task)
    targets = torch.where(data.targets == 0, 1.0, -1.0)
    ranges = Ranges.of(data)
    units = ranges.units(data.inputs)
    worst = (units + 0.1 * targets[:, None] * model.weight[0].sign()).clamp(0, 1)
    found = made.inputs(data.inputs, targets)
    torch.testing.assert_close(ranges.units(found), worst.detach(), rtol=0, atol=1e-5)
    assert not found.requires_grad


@pytest.mark.parametrize("rule", ["fa", "dfa", "dgl", "pepita", "frozen"])
def test_they_are_found_by_exact_gradients_and_leave_the_model_alone(rule: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    if rule == "pepita":
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    made, data = adversary(model)
    torch.manual_seed(1)
    plain = made.inputs(data.inputs, data.targets)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    handle = bp.attach(model, bp.rules.make(rule))
    torch.manual_seed(1)
    found = made.inputs(data.inputs, data.targets)
    assert torch.equal(found, plain)
    assert all(each.grad is None for each in model.parameters())
    handle.remove()
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    losses = [F.cross_entropy(model(each), data.targets) for each in (data.inputs, found)]
    assert losses[1] > losses[0]
    torch.manual_seed(2)
    assert not torch.equal(made.inputs(data.inputs, data.targets), found)


@pytest.mark.parametrize(
    ("rule", "schedule"),
    [("backprop", "joint"), ("fa", "joint"), ("fg", "joint"), ("dgl", "immediate")],
)
def test_every_rule_takes_it(rule: str, schedule: str, tmp_path: Path) -> None:
    spec = replace(SPEC, rule=rule, schedule=schedule, epochs=1)
    record = train(spec, tmp_path / "adversarial", task=BLOBS)
    assert record["status"] == "finished"
    assert record["spec"]["adversarial"] == {"epsilon": 0.1, "steps": 3}
    train(replace(spec, adversarial=None), tmp_path / "plain", task=BLOBS)
    one, other = weights(tmp_path / "adversarial"), weights(tmp_path / "plain")
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_killed_run_ends_as_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model draws by all generators, and so does the attack."""
    train(SPEC, tmp_path / "whole", task=NOISY)
    step, left = torch.optim.Adam.step, 6

    def dies(self: torch.optim.Adam) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", dies)
    with pytest.raises(Killed):
        train(SPEC, tmp_path / "broken", task=NOISY)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    train(SPEC, tmp_path / "broken", resume=True, task=NOISY)
    found, expected = (weights(tmp_path / each) for each in ("broken", "whole"))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_it_makes_a_network_more_robust(tmp_path: Path) -> None:
    task = tasks.find("digits-mlp")
    data = task.load(None)
    found = {}
    for name, setting in (("plain", None), ("adversarial", Adversarial(0.15, 3))):
        spec = RunSpec(rule="fa", epochs=6, measures=(), adversarial=setting)
        train(spec, tmp_path / name, task=task)
        model = task.model()
        model.load_state_dict(weights(tmp_path / name))
        samples = data.test.batch(slice(None))
        found[name] = robust_accuracy(model, *samples, Ranges.of(data.train), 0.15)
    assert found["adversarial"] > found["plain"] + 0.15


def test_a_solved_last_layer_is_trained_by_steps_instead(tmp_path: Path) -> None:
    record = train(replace(SPEC, rule="frozen", epochs=1), tmp_path, task=BLOBS)
    assert record["head"] == "trained by steps: the training is adversarial"


def numbers(folder: Path | None) -> Data:
    del folder
    part = Split(torch.arange(40).reshape(20, 2) % 7, torch.arange(20) % 3)
    return Data("numbers", part, part, part)


def embedded() -> nn.Module:
    return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    "task",
    [replace(BLOBS, name="words", load=numbers, model=embedded), DIGITS_GOODNESS],
    ids=["numbers", "contrast"],
)
def test_what_cannot_be_attacked_is_refused(task: Task, tmp_path: Path) -> None:
    said = f"the model of task {task.name} is not called with one tensor of finite real numbers"
    with pytest.raises(UserError, match=said):
        train(replace(SPEC, rule="backprop"), tmp_path / "run", task=task)


def test_a_pipeline_refuses_it() -> None:
    plan = plan_run(replace(SPEC, schedule="pipeline"), BLOBS, "blobs")
    with pytest.raises(UserError, match="needs the complete model in one process"):
        PipelineSteps(plan, BLOBS, BLOBS.load(None).train)


@pytest.mark.parametrize(
    "fields", [{"epsilon": 0.0}, {"epsilon": -1.0}, {"epsilon": 0.1, "steps": 0}]
)
def test_a_setting_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="of Adversarial"):
        Adversarial(**fields)


def test_the_command_takes_it() -> None:
    words = ["train", "--adversarial", "{epsilon: 0.1}"]
    assert spec_of(RunSpec, parser().parse_args(words).train).adversarial == Adversarial(0.1, 5)
    words = ["train", "--adversarial.epsilon", "0.2", "--adversarial.steps", "7"]
    assert spec_of(RunSpec, parser().parse_args(words).train).adversarial == Adversarial(0.2, 7)
    assert spec_of(RunSpec, parser().parse_args(["train"]).train).adversarial is None


def test_a_spec_of_before_there_was_adversarial_training_is_resumed(run_folder: Path) -> None:
    write_json(run_folder / "spec.json", {"seed": 1})
    check_claim(run_folder, {"seed": 1, "adversarial": None}, resume=True)
    with pytest.raises(UserError, match="adversarial"):
        check_claim(run_folder, {"seed": 1, "adversarial": {"epsilon": 0.1}}, resume=True)
