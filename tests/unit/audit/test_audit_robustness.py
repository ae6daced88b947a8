from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop import tasks
from beyondprop.audit.base import Audited
from beyondprop.audit.robustness import (
    OF_IMAGES,
    OF_TABLES,
    AutoAttack,
    Corruption,
    Pgd,
    Ranges,
    Robustness,
    Square,
    corrupted,
    corruptions_of,
    curve,
    masking,
    odds_against,
    robust_accuracy,
    withstood,
)
from beyondprop.audit.robustness.corruptions import Blur, Contrast, Dropout, Jpeg, Noise
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bars
from beyondprop.shapes import taken_by
from beyondprop.tasks import Data, Split, Task

pytest.importorskip("captum")
pytest.importorskip("pyautoattack")

FEATURES = 6
WIDTH = torch.tensor([1.0, 2.0, 0.5, 4.0, 1.0, 1.0])


@pytest.fixture
def line() -> Callable[[int], tuple[nn.Module, Tensor, Tensor, Ranges]]:
    """A linear classifier of two classes, and inputs in the middle of their ranges."""

    def made(count: int) -> tuple[nn.Module, Tensor, Tensor, Ranges]:
        torch.manual_seed(0)
        model = nn.Linear(FEATURES, 2)
        with torch.no_grad():  # the boundary goes through the middle
            model.bias.copy_(-model.weight @ (WIDTH / 2))
        inputs = (torch.rand(count, FEATURES) * 0.4 + 0.3) * WIDTH
        ranges = Ranges.of(torch.stack([torch.zeros(FEATURES), WIDTH]))
        return model, inputs, model(inputs).argmax(1).detach(), ranges

    return made


def margins(model: nn.Module, inputs: Tensor, targets: Tensor, epsilon: float) -> Tensor:
    """The least margin of a linear classifier in the ball: margin - ε |w|₁, of scaled weights."""
    logits = model(inputs)
    rows = torch.arange(len(targets))
    margin = logits[rows, targets] - logits[rows, 1 - targets]
    weights = ((model.weight[0] - model.weight[1]) * WIDTH).abs().sum()
    return (margin - epsilon * weights).detach()


@pytest.mark.parametrize("steps", [1, 20])
def test_pgd_finds_the_worst_case_of_a_linear_classifier(line, steps) -> None:
    model, inputs, targets, ranges = line(30)
    torch.manual_seed(1)
    found = Pgd(steps).perturbed(
        lambda units: model(ranges.inputs(units)), ranges.units(inputs), targets, 0.1
    )
    least = margins(model, ranges.inputs(found), targets, 0)
    torch.testing.assert_close(least, margins(model, inputs, targets, 0.1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attack", [Pgd(5), AutoAttack()], ids=lambda each: each.name)
def test_robust_is_whoever_has_a_margin_left(line, attack) -> None:
    model, inputs, targets, ranges = line(12)
    expected = margins(model, inputs, targets, 0.08) > 0
    assert 2 < int(expected.sum()) < 10
    found = withstood(model, inputs, targets, ranges, 0.08, attack)
    assert torch.equal(found, expected)


def test_square_needs_no_gradient_and_finds_most(line) -> None:
    model, inputs, targets, ranges = line(12)
    expected = margins(model, inputs, targets, 0.05) > 0
    square = withstood(model, inputs, targets, ranges, 0.05, Square(200))
    assert (square | ~expected).all()
    assert int((square & ~expected).sum()) <= 2

    class Steps(nn.Module):
        """Its gradient is 0 wherever there is one."""

        def forward(self, x: Tensor) -> Tensor:
            return (model(x) * 50).round()

    steps = Steps()
    by_gradients = robust_accuracy(steps, inputs, steps(inputs).argmax(1), ranges, 0.3)
    without = robust_accuracy(steps, inputs, steps(inputs).argmax(1), ranges, 0.3, Square(200))
    assert without < by_gradients - 0.3


def test_a_sure_classifier_is_attacked_as_well(line) -> None:
    """The gradient of its cross-entropy is 0 in float32."""
    model, inputs, targets, ranges = line(30)
    expected = margins(model, inputs, targets, 0.05) > 0
    with torch.no_grad():
        model.weight.mul_(1e4), model.bias.mul_(1e4)
    assert F.cross_entropy(model(inputs), targets, reduction="none").median() == 0
    assert torch.equal(withstood(model, inputs, targets, ranges, 0.05), expected)


def test_the_odds_have_the_sign_of_the_cross_entropys_gradient() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.arange(5) % 4
    torch.testing.assert_close(
        F.softplus(odds_against(logits, targets)),
        F.cross_entropy(logits, targets, reduction="none"),
    )


def test_no_epsilon_is_the_clean_accuracy(line) -> None:
    model, inputs, _, ranges = line(20)
    targets = torch.arange(20) % 2
    clean = (model(inputs).argmax(1) == targets).double().mean().item()
    assert robust_accuracy(model, inputs, targets, ranges, 0) == clean
    with pytest.raises(UserError, match="epsilon must be 0 or more, not -1"):
        robust_accuracy(model, inputs, targets, ranges, -1)


def test_attacks_stay_near_and_within_the_ranges() -> None:
    torch.manual_seed(0)
    model, train = nn.Linear(3, 3), torch.randn(50, 3) * torch.tensor([1.0, 9.0, 0.0])
    ranges = Ranges.of(train)
    units, targets = ranges.units(train), torch.arange(50) % 3
    for attack in (Pgd(3), Square(20)):
        found = attack.perturbed(lambda u: model(ranges.inputs(u)), units, targets, 0.2)
        assert (found - units).abs().max() <= 0.2 + 1e-6
        back = ranges.inputs(found)
        assert (back >= ranges.low - 1e-6).all()
        assert (back <= ranges.high + 1e-6).all()
        assert (back[:, 2] == 0).all()  # a constant feature is none that may be moved


def test_ranges_are_those_of_features() -> None:
    images = torch.rand(10, 3, 4, 5)
    images[3, 1, 2, 2] = 7
    assert Ranges.of(images).high.flatten()[1] == 7
    assert Ranges.of(images).low.shape == (1, 3, 1, 1)
    assert Ranges.of(torch.rand(10, 4, 5)).low.shape == (1, 1, 5)
    signals = taken_by([nn.Sequential(nn.Conv1d(4, 2, 3), nn.Flatten(), nn.Linear(6, 2))])
    assert Ranges.of(torch.rand(10, 4, 5), signals).low.shape == (1, 4, 1)
    assert Ranges.of(images, taken_by([nn.Flatten()])).low.shape == (1, 3, 1, 1)
    rows = torch.randn(3000, 2)
    table = Ranges.of(Split(rows, torch.zeros(3000)))  # in batches
    torch.testing.assert_close(table.mean, rows.mean(0, keepdim=True))
    torch.testing.assert_close(table.std, rows.std(0, correction=0, keepdim=True))
    torch.testing.assert_close(table.inputs(table.units(rows)), rows)
    assert table.beyond(torch.tensor([[0.0, 0.0], [9.0, 0.0]])).tolist() == [False, True]
    with pytest.raises(UserError, match="must be real numbers"):
        Ranges.of(torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(UserError, match="finite"):
        Ranges.of(torch.tensor([[1.0], [torch.nan]]))


# What the audit must show: an attack through a feedback graph measures nothing.


def train(task: Task, data: Data, rule: bp.Rule) -> tuple[nn.Module, bp.Attachment]:
    torch.manual_seed(0)
    model = task.model()
    handle = bp.attach(model, rule)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(8):
        for rows in torch.randperm(len(data.train)).split(64):
            inputs, targets = data.train.batch(rows)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return model, handle


@pytest.fixture(scope="module")
def trained():
    """A network of the digits by feedback alignment; some test samples, and the ranges."""
    task = tasks.find("digits-mlp")
    data = task.load(None)
    model, handle = train(task, data, bp.FeedbackAlignment())
    inputs, targets = data.test.batch(torch.arange(0, 360, 2))
    return model, handle, inputs, targets, Ranges.of(data.train)


EPSILON = 0.15


def through_feedback(model: nn.Module, inputs: Tensor, targets: Tensor, ranges: Ranges) -> Tensor:
    """Which samples are still right under an attack that nobody asked for exact gradients."""
    torch.manual_seed(0)
    attacked = Pgd().perturbed(
        lambda units: model(ranges.inputs(units)), ranges.units(inputs), targets, EPSILON
    )
    with torch.no_grad():
        clean = model(inputs).argmax(1) == targets
        return clean & (model(ranges.inputs(attacked)).argmax(1) == targets)


def test_an_attack_through_the_feedback_graph_reads_robust_and_the_librarys_own_does_not(
    trained,
) -> None:
    model, _, *samples = trained
    clean = robust_accuracy(model, *samples, 0)
    false = through_feedback(model, *samples)
    true = withstood(model, *samples, EPSILON)  # the rule is attached here too
    with bp.exact_gradients(model):
        exact = through_feedback(model, *samples)
    assert clean > 0.9
    assert false.float().mean() > 0.6
    assert true.float().mean() < 0.25
    assert abs(true.float().mean() - exact.float().mean()) < 0.05


def test_masking_shows_the_trap_without_any_gradient(trained) -> None:
    model, _, *samples = trained
    square = withstood(model, *samples, EPSILON, Square(300))
    assert masking(through_feedback(model, *samples), square)["masked"]
    assert not masking(withstood(model, *samples, EPSILON), square)["masked"]


def test_what_is_attached_changes_no_figure_and_is_left_as_it_was(trained) -> None:
    model, _, *samples = trained
    plain = tasks.find("digits-mlp").model()
    plain.load_state_dict(model.state_dict())
    model.train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    model.zero_grad()
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    samples = [samples[0][:40], samples[1][:40], samples[2]]
    for attack in (Pgd(5), Square(20), AutoAttack()):
        found = withstood(model, *samples, 0.3, attack, seed=2)
        assert torch.equal(found, withstood(plain, *samples, 0.3, attack, seed=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(each.training for each in model.modules())
    assert all(each.requires_grad for each in model.parameters())
    assert (first.grad == 1).all()
    assert all(each.grad is None for each in list(model.parameters())[1:])
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    first.grad = None
    model.eval()


def test_the_curve_falls_within_the_sampling_error_and_follows_from_the_seed(trained) -> None:
    model, _, *samples = trained
    epsilons = (0.0, 0.02, 0.05, 0.1, 0.2)
    points = curve(model, *samples, epsilons, seed=1)
    assert points == curve(model, *samples, epsilons, seed=1)
    for weaker, stronger in pairwise(points):
        assert stronger["accuracy"] <= weaker["interval"][1]
        assert stronger["interval"][0] <= stronger["accuracy"] <= stronger["interval"][1]
    assert points[-1]["accuracy"] < points[0]["accuracy"] - 0.5


def test_masking_needs_more_than_chance() -> None:
    by_gradients, without = torch.ones(40, dtype=torch.bool), torch.ones(40, dtype=torch.bool)
    assert masking(by_gradients, without) == {
        "masked": False,
        "without": 0,
        "by_gradients": 0,
        "p": 1.0,
    }
    without[:5] = False
    assert not masking(by_gradients, without)["masked"]  # p = 1/32
    without[5] = False
    assert masking(by_gradients, without)["masked"]  # p = 1/64
    by_gradients[20:30] = False
    assert not masking(by_gradients, without)["masked"]


# Corruptions


def images(count: int = 4, channels: int = 3) -> tuple[Tensor, Ranges]:
    inputs = torch.rand(count, channels, 12, 16) * 5 - 2
    return inputs, Ranges.of(inputs)


@pytest.mark.parametrize("kind", [*OF_IMAGES, *OF_TABLES], ids=lambda each: each.name)
def test_corruptions_stay_in_range_and_grow_and_follow_from_the_seed(kind: Corruption) -> None:
    if isinstance(kind, Jpeg):
        pytest.importorskip("PIL")
    torch.manual_seed(0)
    inputs, ranges = images()
    if kind in OF_TABLES:
        inputs = torch.randn(200, 5)
        ranges = Ranges.of(inputs)
    state, moved = torch.get_rng_state(), []
    for strength in kind.strengths:
        found = corrupted(inputs, kind, strength, ranges, seed=3)
        assert found.shape == inputs.shape
        assert (found >= ranges.low - 1e-5).all()
        assert (found <= ranges.high + 1e-5).all()
        assert torch.equal(found, corrupted(inputs, kind, strength, ranges, seed=3))
        moved.append((found - inputs).abs().mean().item())
    assert 0 < moved[0] < moved[1] < moved[2]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_constant_images_stay_as_they_are(channels: int) -> None:
    pytest.importorskip("PIL")
    levels = torch.tensor([0.0, 0.5, 1.0])
    inputs = levels[:, None, None, None].expand(3, channels, 16, 16).contiguous()
    for kind in (Jpeg(), Blur(), Contrast()):
        found = corrupted(inputs, kind, kind.strengths[1], Ranges.of(inputs))
        assert torch.equal(found.amin((2, 3)), found.amax((2, 3)))
        nearest = 2.1 if kind.name == "JPEG" else 0.01  # it rounds the mean of 8 x 8 pixels too
        torch.testing.assert_close(found, inputs, rtol=0, atol=nearest / 255)


def test_corruptions_by_hand() -> None:
    rows = torch.tensor([[0.0, 1.0], [4.0, 3.0]])
    ranges = Ranges.of(rows)
    torch.testing.assert_close(corrupted(rows, Dropout(), 1.0, ranges), ranges.mean.expand(2, 2))
    torch.testing.assert_close(corrupted(rows, Noise(), 0.0, ranges), rows)
    image = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])
    found = corrupted(image, Contrast(), 0.2, Ranges.of(image))
    torch.testing.assert_close(found, torch.tensor([[[[0.4, 0.6], [0.6, 0.4]]]]))
    assert corruptions_of(image) is OF_IMAGES
    assert corruptions_of(rows) is OF_TABLES


# The section


def audited(model: nn.Module, data: Data) -> Audited:
    task = replace(tasks.find("digits-mlp"), name="some-digits")
    return Audited("fa", task, data, 3, lambda: model)


def test_the_section_answers(trained) -> None:
    pytest.importorskip("PIL")
    handle = trained[1]
    section = Robustness(
        samples=30, epsilons=(0.05, 0.5), epsilon=0.4, pgd=Pgd(4), square=Square(20)
    )
    data = tasks.find("digits-mlp").load(None)
    with bars() as progress:
        answer = section.ask(audited(handle.model, data), progress)
        again = section.ask(audited(handle.model, data), progress)
    assert answer == again
    assert [each["epsilon"] for each in answer["curve"]] == [0, 0.05, 0.4, 0.5]
    assert [each["name"] for each in answer["attacks"]] == ["PGD", "Square", "AutoAttack"]
    assert [each["name"] for each in answer["corruptions"]] == ["noise", "feature dropout"]
    assert answer["clean"]["accuracy"] == answer["curve"][0]["accuracy"]
    assert answer["verdict"].startswith(
        "When an attack may change every feature by up to 0.4 of its range"
    )
    assert json.loads(json.dumps(answer)) == answer


def test_the_section_refuses_inputs_that_are_no_numbers(trained) -> None:
    samples = Split(torch.zeros(4, 64, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))
    data = Data("numbers", samples, samples, samples)
    with bars() as progress, pytest.raises(UserError, match="must be one tensor of real numbers"):
        Robustness().ask(audited(trained[0], data), progress)
