"""Tasks on random features by light: their data, models and controls."""

import pytest
import torch

import beyondprop as bp
from beyondprop.experiment import CompareSpec, compare
from beyondprop.optics import CalibratedFeatures, Features, OpticalFeatures
from beyondprop.rules import Rule
from beyondprop.tasks import Task, find
from beyondprop.tasks.digits import load_vectors
from beyondprop.tasks.random_features import (
    DIGITS_OPTICAL_COMPLETION,
    DIGITS_OPTICAL_DEFENCE,
    DIGITS_OPTICAL_FEATURES,
    MNIST_OPTICAL_DEFENCE,
    MNIST_OPTICAL_FEATURES,
    defence,
    explained,
    load_halves,
)

ALL = (
    DIGITS_OPTICAL_FEATURES,
    DIGITS_OPTICAL_COMPLETION,
    DIGITS_OPTICAL_DEFENCE,
    MNIST_OPTICAL_FEATURES,
    MNIST_OPTICAL_DEFENCE,
)


def score(task: Task, model: torch.nn.Module, part: str = "validation") -> float:
    split = getattr(task.load(None), part)
    with torch.no_grad():
        return task.metric(model(split.inputs), split.targets)


def trained(task: Task, rule: Rule, epochs: int, model: torch.nn.Module) -> float:
    data = task.load(None)
    handle = bp.attach(model, rule, blocks=task.blocks)
    optimizer = task.optimizer(model.parameters(), task.learning_rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(data.train)).split(task.batch_size):
            optimizer.zero_grad()
            with handle.targets(data.train.targets[rows]):
                loss = task.loss(model(data.train.inputs[rows]), data.train.targets[rows])
            loss.backward()
            optimizer.step()
    return score(task, model)


def test_halves_are_counted_from_the_mean_image() -> None:
    whole, data = load_vectors(), load_halves()
    assert torch.equal(data.test.inputs, whole.test.inputs[:, :32])
    assert data.classes == ()
    torch.testing.assert_close(data.train.targets.mean(0), torch.zeros(32), atol=1e-5, rtol=0)
    assert data.train.targets.square().mean().item() == pytest.approx(1)
    lower = whole.test.inputs[:, 32:]
    mean = whole.train.inputs[:, 32:].mean(0)
    size = (lower - mean)[data.test.targets != 0] / data.test.targets[data.test.targets != 0]
    torch.testing.assert_close(size, size[:1].expand_as(size), rtol=1e-3, atol=1e-3)


def test_explained_variance() -> None:
    targets = load_halves().train.targets
    assert explained(targets, targets) == 1
    assert explained(torch.zeros_like(targets), targets) == pytest.approx(0, abs=1e-6)
    assert explained(-targets, targets) == pytest.approx(-3, abs=1e-5)


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_every_run_has_a_device_of_its_own(task: Task) -> None:
    assert find(task.name) is task
    seeds = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = task.model()
        (light,) = (m for m in model.modules() if isinstance(m, Features))
        seeds.append(int(light.seed))
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize(
    "task", [MNIST_OPTICAL_DEFENCE, MNIST_OPTICAL_FEATURES], ids=lambda task: task.name
)
def test_mnist_models_take_images(task: Task) -> None:
    assert task.model()(torch.randn(3, 1, 28, 28)).shape == (3, 10)


def test_a_linear_layer_on_light_beats_one_on_pixels() -> None:
    """The lower control of fixed features: the same layer, the same steps, no light."""
    torch.manual_seed(0)
    rule = bp.Backprop()
    for task, gain in ((DIGITS_OPTICAL_FEATURES, 0.01), (DIGITS_OPTICAL_COMPLETION, 0.05)):
        light = task.model()
        linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(light[2].out_features))
        linear(task.load(None).train.inputs[:2])
        found = trained(task, rule, 5, light)
        assert found > trained(task, rule, 5, linear) + gain


def test_the_defence_is_learned_by_dfa_and_more_than_frozen() -> None:
    task = DIGITS_OPTICAL_DEFENCE
    found = {}
    for rule in (bp.Frozen(), bp.DirectFeedbackAlignment(), bp.Backprop()):
        torch.manual_seed(0)
        found[rule.name] = trained(task, rule, 5, task.model())
    assert 0.5 < found["frozen"] < found["dfa"] - 0.03
    assert found["backprop"] > found["frozen"] + 0.03


def test_the_defence_by_light_alone_learns_by_dfa_only() -> None:
    task = DIGITS_OPTICAL_DEFENCE
    torch.manual_seed(0)
    model = defence(64, 64, OpticalFeatures(256))
    assert trained(task, bp.DirectFeedbackAlignment(), 4, model) > 0.85
    with pytest.raises(bp.UserError, match="no gradient passes back through the light"):
        trained(task, bp.Backprop(), 1, defence(64, 64, OpticalFeatures(256)))
    assert type(task.model().head[0]) is CalibratedFeatures  # type: ignore[union-attr, index]


def test_the_defence_is_compared_between_its_controls(tmp_path) -> None:  # type: ignore[no-untyped-def]
    spec = CompareSpec(
        task=DIGITS_OPTICAL_DEFENCE.name,
        rules=("backprop", "dfa", "frozen"),
        seeds=(0,),
        epochs=2,
        learning_rates=(3e-3,),
        measure_cost=False,
    )
    record = compare(spec, tmp_path / "compared")
    rows = {row["rule"]: row for row in record["rows"]}
    assert all(row["finished"] == 1 for row in rows.values())
    assert rows["dfa"]["alignment"] is not None
    assert rows["backprop"]["alignment"] == pytest.approx(1, abs=1e-4)
