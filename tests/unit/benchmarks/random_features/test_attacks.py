import pytest
import torch
from torch import nn

from benchmarks.random_features import attacks


def linear():
    """Logits (x · w, -x · w) of images with four pixels."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    weight = torch.tensor([1.0, -2.0, 0.5, 1.0])
    model[1].weight.data = torch.stack([weight, -weight])
    return model, weight


@pytest.mark.parametrize("name", ["fgsm", "pgd", "square"])
def test_attacks_stay_in_the_box_and_lower_the_margin(name):
    model, _ = linear()
    x = torch.rand(50, 1, 2, 2)
    y = model(x).argmax(1)
    box = attacks.Box(0.2, 0.0, 1.0)
    moved = getattr(attacks, name)(model, x, y, box)
    assert (moved - x).abs().max() <= 0.2 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    before, after = (attacks.margin(model(i), y) for i in (x, moved))
    assert (after <= before + 1e-6).all()
    assert (after < before).double().mean() > 0.9


def test_gradient_attacks_find_the_worst_of_a_linear_model():
    """In a box without borders the margin falls by 2 ε |w|₁, and by no more."""
    model, weight = linear()
    x = torch.randn(20, 1, 2, 2)
    y = model(x).argmax(1)
    box = attacks.Box(0.1, -100.0, 100.0)
    least = attacks.margin(model(x), y) - 2 * 0.1 * weight.abs().sum()
    for moved in (
        attacks.fgsm(model, x, y, box),
        attacks.pgd(model, x, y, box),
        attacks.pgd(model, x, y, box, loss=attacks.by_margin),
    ):
        torch.testing.assert_close(attacks.margin(model(moved), y), least)
