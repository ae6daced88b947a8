"""The solver of a linear layer: against a slow reference, and what its record says."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tests.reference import linear_layer
from torch import Tensor

from beyondprop.experiment import solver
from beyondprop.experiment.solver import (
    Features,
    Problem,
    Scale,
    Solution,
    constant,
    hessians,
    solve,
)
from beyondprop.tasks.base import accuracy
from beyondprop.tasks.digits import load_vectors
from beyondprop.tasks.metrics import r_squared


def minus(loss: solver.Loss) -> solver.Loss:
    return lambda outputs, targets: -loss(outputs, targets)


def clouds(samples: int, width: int = 5, classes: int = 3, noise: float = 1.0) -> Features:
    """Correlated features of different sizes, one of them constant."""
    generator = torch.Generator().manual_seed(samples)
    targets = torch.arange(samples) % classes
    mixed = torch.randn(width, width, generator=torch.Generator().manual_seed(0))
    own = torch.randn(samples, width, generator=generator) * noise
    own[:, :classes] += 2 * F.one_hot(targets, classes)
    return Features(torch.cat([own @ mixed * 30 + 7, torch.full((samples, 1), 3.0)], 1), targets)


CLASSES = Problem(F.cross_entropy, accuracy, 3, torch.Size([3]))


def objective(problem: Problem, train: Features, found: Solution) -> float:
    """Return the penalised loss of a solution, from its weights as they are."""
    outputs = problem.outputs_of(train.features.double(), found.weight.T, found.bias)
    deviation = Scale.of(train.features, problem.bias).deviation
    weight = found.weight * torch.where(deviation.isinf(), 0, deviation)
    targets = solver.in_precision(train.targets, torch.float64)
    loss = problem.loss(outputs, targets).item()
    return loss + found.found["penalty"] / 2 * weight.square().sum().item()


def test_the_objective_is_that_of_the_reference() -> None:
    train, validation = clouds(90), clouds(60)
    found = solve(CLASSES, train, validation)
    expected = linear_layer.solved(train.features, train.targets, 3, found.found["penalty"])
    assert found.found["converged"] is True
    assert objective(CLASSES, train, found) == pytest.approx(expected, abs=1e-8)


def test_a_regression_is_that_of_the_normal_equations() -> None:
    def regression(samples: int) -> Features:
        features = clouds(samples).features
        noise = torch.randn(samples, 2, generator=torch.Generator().manual_seed(1))
        return Features(features, features[:, :2] * 0.1 + noise)

    problem = Problem(F.mse_loss, minus(F.mse_loss), 2, torch.Size([2]))
    train = regression(80)
    found = solve(problem, train, regression(50))
    x, y = linear_layer.standardised(train.features), train.targets.double()
    # The mean is over both outputs: half the gradient of the squares is XᵀX / n.
    gram = x.T @ x / len(x) + found.found["penalty"] * torch.eye(x.shape[1])
    weight = torch.linalg.solve(gram, x.T @ (y - y.mean(0)) / len(x))
    outputs = problem.outputs_of(train.features.double(), found.weight.T, found.bias)
    assert torch.allclose(outputs, x @ weight + y.mean(0), atol=1e-5)


def test_a_head_on_tokens_is_that_of_all_tokens_as_samples() -> None:
    flat = clouds(90)
    tokens = Features(flat.features.view(30, 3, -1), flat.targets.view(30, 3))
    problem = Problem(
        lambda outputs, targets: F.cross_entropy(outputs.flatten(0, 1), targets.flatten()),
        lambda outputs, targets: accuracy(outputs.flatten(0, 1), targets.flatten()),
        3,
        torch.Size([3, 3]),
    )
    found, expected = solve(problem, tokens, tokens), solve(CLASSES, flat, flat)
    assert torch.allclose(found.weight, expected.weight, atol=1e-5)


def test_without_a_bias_nothing_is_centred() -> None:
    problem = Problem(F.cross_entropy, accuracy, 3, torch.Size([3]), bias=False)
    train = clouds(90)
    found = solve(problem, train, clouds(60))
    assert torch.equal(found.bias, torch.zeros(3, dtype=torch.float64))
    weight = found.weight.T.clone().requires_grad_()
    deviation = Scale.of(train.features, centred=False).deviation[:, None]
    F.cross_entropy(train.features.double() @ weight, train.targets).backward()
    assert weight.grad is not None
    gradient = weight.grad / deviation + found.found["penalty"] * weight.detach() * deviation
    assert gradient.norm() < 1e-4


def test_the_penalty_with_the_best_validation_score_is_taken() -> None:
    train, validation = clouds(30, width=20, noise=3.0), clouds(200, width=20, noise=3.0)
    found = solve(CLASSES, train, validation)
    low, high = found.found["penalties"]
    assert low < found.found["penalty"] < high
    assert high / low >= 1e4 * 0.99
    assert found.found["edge"] is None


def test_a_penalty_at_the_lower_edge_is_told_where_it_no_longer_changes_the_loss() -> None:
    train = clouds(60, noise=0.01)  # a line tells the classes apart
    loss = Problem(F.cross_entropy, minus(F.cross_entropy), 3, torch.Size([3]))
    found = solve(loss, train, train)
    assert found.train_loss < 1e-3
    assert found.found["edge"] == "the lowest penalty, where a lower one no longer changes the loss"


def test_a_penalty_at_the_upper_edge_is_told_where_outputs_are_constant() -> None:
    train = clouds(90)
    shuffled = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    noise = Features(train.features, train.targets[shuffled])
    loss = Problem(F.cross_entropy, minus(F.cross_entropy), 3, torch.Size([3]))
    found = solve(loss, noise, clouds(600))
    assert found.found["edge"] == "the highest penalty, where outputs are constant"
    assert found.train_loss == pytest.approx(math.log(3), abs=1e-3)


def test_a_layer_that_is_not_converged_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "FINE", (1, 1e-12))
    assert solve(CLASSES, clouds(90), clouds(60)).found["converged"] is False


def test_single_precision_on_the_way_ends_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation = clouds(90), clouds(60)
    expected = solve(CLASSES, train, validation)
    monkeypatch.setattr(solver, "LARGE", 1)
    found = solve(CLASSES, train, validation)
    assert found.found["penalty"] == pytest.approx(expected.found["penalty"], rel=1e-3)
    reached, least = (objective(CLASSES, train, each) for each in (found, expected))
    assert reached == pytest.approx(least, abs=1e-6)


def test_wide_features_are_solved_without_a_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation = clouds(90), clouds(60)
    monkeypatch.setattr(solver, "WIDTH", 2)
    found = solve(CLASSES, train, validation)
    expected = linear_layer.solved(train.features, train.targets, 3, found.found["penalty"])
    assert objective(CLASSES, train, found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "targets", "expected"),
    [
        (F.cross_entropy, torch.tensor([0, 1, 1, 2, 1, 1]), [1, 4, 1]),
        (F.mse_loss, torch.tensor([[0.0, 1.0, 5.0], [2.0, 1.0, 7.0]]), [1, 1, 6]),
    ],
    ids=["classes", "values"],
)
def test_the_best_constant(loss: solver.Loss, targets: Tensor, expected: list[float]) -> None:
    problem = Problem(loss, accuracy, 3, torch.Size([3]))
    found = constant(problem, targets, torch.Size([len(targets)]))
    assert found.converged
    bias = found.bias.softmax(0) * 6 if loss is F.cross_entropy else found.bias
    assert bias.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_best_constant_of_classes_rare_and_absent_takes_no_iterations() -> None:
    targets = torch.repeat_interleave(torch.arange(4), torch.tensor([1, 0, 10, 100_000]))
    problem = Problem(F.cross_entropy, accuracy, 4, torch.Size([4]))
    found = constant(problem, targets, targets.shape)
    assert found.converged
    assert found.iterations <= 1
    shares = targets.bincount(minlength=4).double() / len(targets)
    assert found.bias.softmax(0).tolist() == pytest.approx(shares.tolist(), abs=1e-9)


@pytest.mark.slow
def test_the_digits_are_those_of_newtons_method() -> None:
    data = load_vectors()
    parts = [Features(part.inputs[:, :24], part.targets) for part in (data.train, data.validation)]
    problem = Problem(F.cross_entropy, accuracy, 10, torch.Size([10]))
    found = solve(problem, *parts)
    train = parts[0]
    expected = linear_layer.solved(train.features, train.targets, 10, found.found["penalty"])
    assert objective(problem, train, found) == pytest.approx(expected, abs=1e-6)


def test_rare_classes_take_no_more_iterations_than_common_ones() -> None:
    """As letters of a text: shares from a third to a few in ten thousand."""
    torch.manual_seed(0)
    shares = 0.6 ** torch.arange(16.0)
    targets = torch.multinomial(shares, 6000, replacement=True)
    centres = 0.3 * torch.randn(16, 8, dtype=torch.float64)
    features = centres[targets] + torch.randn(6000, 8, dtype=torch.float64)
    problem = Problem(F.cross_entropy, accuracy, 16, torch.Size((16,)))
    base = constant(problem, targets, torch.Size((6000,)))
    objective = solver.Objective(
        problem, Scale.of(features, True)(features, torch.float64), targets
    )
    start = solver.Point(base.weight.new_zeros(8, 16), base.bias, 0.0, base.loss)
    point = solver.minimise(objective, 1e-5, start, *solver.FINE)
    assert point.converged
    assert point.iterations < 150  # 367 by a curvature that is the same for all classes


@pytest.mark.parametrize("seed", [6, 15, 16, 27])
def test_where_rounding_hides_the_rest_the_best_constant_is_found(seed: int) -> None:
    """The mean of standardised values is zero but for rounding: nothing is left to gain."""
    values = torch.randn(180, 1, generator=torch.Generator().manual_seed(seed))
    values = (values - values.mean()) / values.std()
    problem = Problem(F.mse_loss, r_squared, 1, torch.Size([1]))
    found = constant(problem, values, torch.Size([180]))
    assert found.converged
    assert found.bias.item() == pytest.approx(0, abs=1e-7)


def test_second_derivatives_are_those_of_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    targets = torch.randint(4, (7,), generator=generator)
    problem = Problem(F.cross_entropy, minus(F.cross_entropy), 4, torch.Size([4]))
    expected = torch.autograd.functional.hessian(
        lambda shift: F.cross_entropy(outputs + shift, targets), torch.zeros(4).double()
    )  # of a shift of all rows, as rows have no part in one another's
    found = hessians(problem, outputs, targets, torch.ones(7, 1).double())[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert found.sum(0).abs().max() < 1e-6  # a softmax does not change where all outputs do


def test_outputs_that_depend_on_one_another_are_solved_in_few_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = clouds(400, noise=3.0)
    problem = Problem(F.cross_entropy, minus(F.cross_entropy), 3, torch.Size([3]))
    together = solve(problem, train, train).found["iterations"]
    monkeypatch.setattr(solver, "OUTPUTS", 0)
    alone = solve(problem, train, train).found["iterations"]
    assert together < alone
