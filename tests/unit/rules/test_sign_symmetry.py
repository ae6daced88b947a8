"""The three forms of sign-symmetry: whose signs, which magnitudes, and when they are drawn."""

import pytest
import torch
from tests import internals
from torch import nn

import beyondprop as bp


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        return self.shared(self.shared(x))


def layered(rule, *layers):
    model = nn.Sequential(*layers).double()
    return model, bp.attach(model, rule)


def behind(model, x):
    """Return the input's gradient for an error of ones, the feedback's sum over outputs."""
    x = x.detach().requires_grad_()
    model(x).sum().backward()
    return x.grad


def feedback_matrix(model):
    """Return the whole matrix by which a linear layer sends back, one output at a time."""
    (linear,) = model
    rows = []
    for error in torch.eye(linear.out_features, dtype=torch.float64):
        x = torch.zeros(1, linear.in_features, dtype=torch.float64, requires_grad=True)
        model.eval()  # magnitudes stay those of the last pass in training mode
        model(x).backward(error[None])
        rows.append(x.grad[0])
    model.train()
    return torch.stack(rows)


def test_uniform_magnitudes():
    model, _ = layered(bp.SignSymmetry(), nn.Linear(4, 6))
    with torch.no_grad():
        model[0].weight[0, 0] = 0.0
    torch.testing.assert_close(feedback_matrix(model), model[0].weight.sign() / 2)


@pytest.mark.parametrize("rule", [bp.FixedRandomSignSymmetry(), bp.BatchRandomSignSymmetry()])
def test_the_signs_are_those_of_the_weights_and_follow_them(rule):
    model, _ = layered(rule, nn.Linear(40, 60))
    for _ in range(2):
        found = feedback_matrix(model)
        assert torch.equal(found.sign(), model[0].weight.sign())
        assert abs(found.square().mean() * 40 - 1) < 0.1  # an error's norm is kept on average
        with torch.no_grad():
            model[0].weight.neg_()


def test_fixed_magnitudes_are_those_of_feedback_alignment():
    model, handle = layered(bp.FixedRandomSignSymmetry(), nn.Linear(4, 6))
    signed = feedback_matrix(model)
    handle.remove()
    bp.attach(model, bp.FeedbackAlignment())
    torch.testing.assert_close(signed.abs(), feedback_matrix(model).abs())


def test_batchwise_magnitudes_are_new_in_training_passes_alone():
    model, handle = layered(bp.BatchRandomSignSymmetry(), nn.Linear(4, 6))
    x = torch.randn(2, 4, dtype=torch.float64)
    first, second = behind(model, x), behind(model, x)
    assert not torch.allclose(first, second)
    model.eval()
    assert torch.equal(behind(model, x), second)
    assert torch.equal(behind(model, x), second)
    with torch.no_grad():
        model.train()(x)  # not taught, so not counted
    assert torch.equal(behind(model.eval(), x), second)
    assert internals.passes(handle) == 2


def test_one_pass_has_one_set_of_magnitudes():
    """Also where a layer is used twice in it, and where two passes come before one backward."""
    model, _ = layered(bp.BatchRandomSignSymmetry(), Twice())
    shared = model[0].shared
    one, two = (torch.randn(2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    output = model(one)
    first = internals.feedback(shared)
    other = model(two)
    second = internals.feedback(shared)
    (output.sum() + other.sum()).backward()
    ones = torch.ones(2, 4, dtype=torch.float64)
    torch.testing.assert_close(one.grad, ones @ first @ first)
    torch.testing.assert_close(two.grad, ones @ second @ second)
    assert not torch.allclose(first, second)


def test_the_seed_and_the_pass_determine_batchwise_magnitudes():
    x = torch.randn(2, 4, dtype=torch.float64)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        model, _ = layered(bp.rules.make("brsf", seed), nn.Linear(4, 6))
        torch.manual_seed(len(found))  # the global generator has no part in it
        found.append([behind(model, x) for _ in range(3)])
    for a, b, c in zip(*found, strict=True):
        assert torch.equal(a, b)
        assert not torch.allclose(a, c)


def test_a_projection_that_keeps_its_matrix_finds_it_unchanged():
    dense = bp.Dense(3, shared=True)
    model, _ = layered(bp.BatchRandomSignSymmetry(dense), nn.Linear(4, 6))
    behind(model, torch.randn(2, 4, dtype=torch.float64))
    like = torch.zeros(1, dtype=torch.float64)
    assert torch.equal(dense.matrix(6, 4, 0, like), bp.Dense(3).matrix(6, 4, 0, like))
