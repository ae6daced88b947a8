"""How close every projection comes to independent Gaussian entries, held against theory.

Over maps, or over inputs of one map; bounds are five standard errors of what is estimated.
"""

import copy
from functools import cache

import pytest
import torch

from beyondprop.projections import (
    Dense,
    Hadamard,
    LowRank,
    Signs,
    Sketched,
    Sparse,
    Streamed,
)

INPUTS, OUTPUTS, MAPS = 512, 64, 400
DENSITY, RANK, BUCKETS = 0.1, 16, 128

# The kurtosis of an entry, over maps: 3 for a Gaussian, 1 for a sign.
ENTRIES = {
    Dense(1): 3,
    Signs(1): 1,
    Streamed(1): 1,
    Hadamard(1): 3 - 2 / INPUTS,
    Hadamard(1, rounds=3): 3,
    Sketched(1, inner=Signs(2), buckets=BUCKETS): 1,
    Sparse(1, density=DENSITY): 1 / DENSITY,
    LowRank(1, rank=RANK): 3 - 2 / RANK,
}
# The variance of |Px|² / |x|² over maps, times half the outputs: 1 for a Gaussian.
ONE_HOT = {
    Dense: 1,
    Signs: 0,
    Streamed: 0,
    Hadamard: 1 - OUTPUTS / INPUTS,
    Sketched: 0,
    Sparse: (1 / DENSITY - 1) / 2,
    LowRank: 1 - 1 / RANK,
}
CONSTANT = {
    Dense: 1,
    Signs: 1,
    Streamed: 1,
    Hadamard: 1 - OUTPUTS / INPUTS,
    Sketched: 1 + OUTPUTS / BUCKETS,
    Sparse: 1,
    LowRank: 1 + OUTPUTS / RANK - 1 / RANK,
}
every = pytest.mark.parametrize("kind", ENTRIES, ids=repr)


def given(name):
    """Return an input of norm 1."""
    x = torch.full((INPUTS,), INPUTS**-0.5)
    if name == "one-hot":
        x = torch.zeros(INPUTS)
        x[201] = 1
    return x


@cache
def projected(kind, name):
    """Return what many maps make of an input, (maps, outputs), each number of variance 1."""
    fresh, x = copy.deepcopy(kind), given(name)  # and what it draws is forgotten
    maps = [fresh.project(x, OUTPUTS, stream) for stream in range(MAPS)]
    return torch.stack(maps).double() * OUTPUTS**0.5


def standard_error(found):
    """Return that of a mean over maps, whose outputs may depend on one another."""
    return found.std() / len(found) ** 0.5


@every
@pytest.mark.parametrize(("name", "theory"), [("one-hot", ONE_HOT), ("constant", CONSTANT)])
def test_norms_over_maps(kind, name, theory):
    norms = projected(kind, name).square().mean(1)
    expected = theory[type(kind)] * 2 / OUTPUTS
    assert abs(norms.mean() - 1) < 5 * (expected / MAPS) ** 0.5 + 1e-6
    # A variance that is estimated by so many has a relative error of sqrt(2 / MAPS) = 0.07 for
    # Gaussian norms, a fifth more for the few directions of LowRank.
    within = 5 * (2 / MAPS) ** 0.5 * (1.2 if isinstance(kind, LowRank) else 1)
    assert abs(norms.var() - expected) <= within * expected + 1e-6


@every
def test_the_kurtosis_of_entries(kind):
    """Of a one-hot input's outputs; over so many numbers, 0.03 is a Gaussian's standard error."""
    found = projected(kind, "one-hot")
    kurtosis = found**4 / found.square().mean() ** 2
    error = 0.2 if isinstance(kind, Sparse) else 0.03
    assert abs(kurtosis.mean() - ENTRIES[kind]) < 5 * error


@every
def test_outputs_of_a_dense_input_are_gaussian(kind):
    """Of a constant one, over maps: mean 0, variance 1, no skew, a kurtosis of 3."""
    found = projected(kind, "constant")
    spread = {LowRank: 3.0, Sketched: 1.5}.get(type(kind), 1.0)  # as outputs of a map are alike
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = spread * (variance / found.numel()) ** 0.5
        assert abs((found**power).mean() - moment) < 5 * error


@every
@pytest.mark.parametrize("name", ["one-hot", "constant"])
@pytest.mark.parametrize("apart", [1, 2, 32])
def test_outputs_are_uncorrelated(kind, name, apart):
    """Neighbours and others, in themselves over maps."""
    found = projected(kind, name)
    products = (found[:, apart:] * found[:, :-apart]).mean(1)
    assert abs(products.mean()) < 5 * standard_error(products) + 1e-6
    assert standard_error(products) < 3 / (MAPS * (OUTPUTS - apart)) ** 0.5


# Of one map, over Gaussian inputs, 4096 → 256: the variance of |Px|² / |x|², times 256 / 2. That
# of independent entries is 1; a part of a rotation's outputs misses as little as its inputs.
SPREAD = {
    Dense(0): 1.0,
    Signs(0): 1.0,
    Streamed(0): 1.0,
    Hadamard(0): 1 - 256 / 4096,
    Hadamard(0, rounds=3): 1 - 256 / 4096,
}


@pytest.mark.parametrize("kind", SPREAD, ids=repr)
def test_norms_and_inner_products_of_gaussian_inputs(kind):
    """Inner products at a cosine of a half; by 4000 pairs a deviation is known to 1.1%."""
    pairs, cosine = 4000, 0.5
    common, x, y = (torch.randn(pairs, 4096) for _ in range(3))
    x, y = (v + common for v in (x, y))
    px, py = (kind.project(v, 256, 0) for v in (x, y))
    lengths = x.norm(dim=1), y.norm(dim=1)
    for made, length in zip((px, py), lengths, strict=True):
        ratio = made.square().sum(1) / length.square()
        expected = (SPREAD[kind] * 2 / 256) ** 0.5
        # Over inputs the mean is that of one map, whose own error is sqrt(2 / 256 / 4096).
        assert abs(ratio.mean() - 1) < 5 * expected * (1 / pairs + 1 / 4096) ** 0.5
        assert abs(ratio.std() / expected - 1) < 0.05
    error = ((px * py).sum(1) - (x * y).sum(1)) / (lengths[0] * lengths[1])
    expected = (SPREAD[kind] * (1 + cosine**2) / 256) ** 0.5
    assert abs(error.std() / expected - 1) < 0.05
