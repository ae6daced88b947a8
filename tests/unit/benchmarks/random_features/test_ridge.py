import pytest
import torch

from benchmarks.random_features import ridge
from beyondprop.optics import OpticalFeatures, ideal
from beyondprop.tasks import Split


def splits(classes=None):
    torch.manual_seed(0)
    made = []
    for count in (60, 30, 40):
        x = torch.randn(count, 5, dtype=torch.float64)
        y = (x[:, :2] + 0.1 * torch.randn(count, 2)).float()
        made.append(Split(x, (x[:, 0] > 0).long() if classes else y))
    return tuple(made)


def test_ridge_is_the_textbooks_and_the_same_by_samples_and_by_features():
    parts = splits()
    few = tuple(part.inputs for part in parts)
    many = tuple(torch.cat([x] * 20, 1) / 20**0.5 for x in few)  # more features than samples
    penalty, validation, test, learned = ridge.ridge(few, parts)
    assert learned == 12
    again = ridge.ridge(many, parts)
    assert again[:3] == pytest.approx((penalty, validation, test), rel=1e-4)
    x, y = parts[0].inputs, parts[0].targets.double()
    mean, centre = x.mean(0), y.mean(0)
    scale = penalty * (x - mean).square().sum(1).mean()
    inverse = torch.linalg.inv((x - mean).t() @ (x - mean) + scale * torch.eye(5))
    weights = inverse @ (x - mean).t() @ (y - centre)
    found = (parts[2].inputs - mean) @ weights + centre
    wrong = (found - parts[2].targets).square().mean().item()
    assert test == pytest.approx(1 - wrong, rel=1e-4)


def test_the_penalty_is_chosen_on_the_validation_split():
    parts = splits(classes=True)
    turned = Split(parts[2].inputs, 1 - parts[2].targets)
    features = tuple(part.inputs for part in parts)
    first, second = (ridge.ridge(features, (*parts[:2], test)) for test in (parts[2], turned))
    assert first[:2] == second[:2]
    assert first[2] + second[2] == pytest.approx(1)


def test_the_centred_kernel_is_that_of_many_centred_features():
    rows = tuple((torch.rand(n, 12) < 0.5).float() for n in (20, 5, 6))
    light = OpticalFeatures(100_000, device=ideal())
    seen = [light(r) for r in rows]
    seen = [s - seen[0].mean(0) for s in seen]
    for kernel, part in zip(ridge.kernels(rows), seen, strict=True):
        found = (part @ seen[0].t() / 100_000).double()
        torch.testing.assert_close(found, kernel, rtol=0, atol=0.03)
