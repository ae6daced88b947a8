"""A count sketch before another projection."""

import pytest
import torch

from beyondprop.projections import (
    Dense,
    Hadamard,
    Signs,
    Sketched,
)
from beyondprop.random import keys


def test_narrow_inputs_are_not_sketched():
    x = torch.randn(3, 1024)
    stream = keys.key(keys.key(1, 2), 4) >> 1
    made = Sketched(1, inner=Signs(2)).project(x, 50, 4)
    assert torch.equal(made, Signs(2).project(x, 50, stream))


@pytest.mark.parametrize("width", [64, 1024, 1025])
def test_every_seed_has_a_map_of_its_own(width):
    maps = torch.stack([Sketched(seed).matrix(width, 64, 0, torch.zeros(1)) for seed in range(5)])
    cosines = torch.corrcoef(maps.flatten(1)).fill_diagonal_(0)
    assert cosines.abs().max() < 4 / (64 * width) ** 0.5


def test_wide_maps_keep_their_bits():
    x = torch.arange(2000.0).remainder(7).view(1, -1) - 3
    found = Sketched(3).project(x, 4, 9)[0]
    torch.testing.assert_close(
        found, torch.tensor([25.5, -7.5, -15.5, -10.5]), rtol=1e-6, atol=1e-5
    )


def test_every_input_goes_to_one_bucket_and_no_bucket_is_favoured():
    made = Sketched(1, buckets=64)
    bucket, positive = made._draw(64000, 0, torch.device("cpu"))
    counts = bucket.bincount(minlength=64)
    assert len(counts) == 64
    assert ((counts - 1000) / 1000**0.5).abs().max() < 4.5
    assert 40 < (counts - 1000).double().square().mean() / 1000 * 64 < 100  # chi-squared
    assert abs(positive.double().mean() - 0.5) < 0.01
    pair = torch.stack([bucket.double(), positive.double()])
    assert torch.corrcoef(pair)[0, 1].abs() < 0.02


@pytest.mark.parametrize("inner", [Signs(), Hadamard(), Dense()])
def test_the_error_of_very_many_classes(inner):
    """Probabilities less a target, 30 000 wide: the norm is kept on average over streams."""
    x = torch.randn(30000).mul(2).softmax(0)
    x[7] -= 1
    made = Sketched(1, inner=inner)
    ratio = torch.stack([made.project(x, 256, s).square().sum() for s in range(100)]) / x.dot(x)
    assert abs(ratio.mean() - 1) < 0.05


def test_inner_products_of_one_hot_inputs():
    """Two classes that fall into one bucket do so once in as many pairs as there are buckets."""
    made = Sketched(1, inner=Signs(2), buckets=256)
    rows = made.matrix(2000, 1024, 0, torch.zeros(1, dtype=torch.float64))
    inner = (rows @ rows.t()).triu(1).abs()
    clashes = (inner > 0.9).sum().item() / (2000 * 1999 / 2)
    assert abs(clashes * 256 - 1) < 0.15
