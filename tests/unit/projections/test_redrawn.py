"""The projection for a single use: the same again from the same numbers, others independent."""

import copy
import itertools
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beyondprop.projections import PROJECTIONS, Redrawn

LIKE = torch.zeros(1, dtype=torch.float64)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**56), st.integers(1, 5), st.integers(1, 5))
def test_the_same_numbers_give_the_same_matrix(seed, stream, rows, columns):
    torch.manual_seed(seed % 7)  # the global generator has no part in it
    one = Redrawn(seed).matrix(rows, columns, stream, LIKE)
    after = torch.get_rng_state()
    again = Redrawn(seed).matrix(rows, columns, stream, LIKE)
    assert torch.equal(one, again)
    assert one.shape == (rows, columns)
    assert one.data_ptr() != again.data_ptr()  # not kept: what uses it may write to it
    assert torch.equal(after, torch.get_rng_state())


def test_streams_and_seeds_are_independent():
    named = itertools.product((0, 1, 2, 2**40), (0, 1, 2, 2**40))
    drawn = [Redrawn(seed).matrix(50, 40, stream, LIKE).flatten() for seed, stream in named]
    correlations = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
    assert correlations.abs().max() < 0.1  # 2000 numbers: standard deviation 0.022


def test_norms_and_moments():
    """4096 → 256: |Px|²/|x|² has mean 1 and standard deviation sqrt(2/256) = 0.0884."""
    x = torch.randn(2000, 4096)
    ratio = Redrawn().project(x, 256, 0).square().sum(1) / x.square().sum(1)
    assert abs(ratio.mean() - 1) < 0.01
    assert 0.080 < ratio.std() < 0.097
    entries = Redrawn().matrix(1000, 1000, 0, LIKE).flatten() * 1000**0.5
    assert abs(entries.mean()) < 0.005
    assert abs(entries.std() - 1) < 0.005
    assert abs((entries**4).mean() - 3) < 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_follows(dtype):
    assert Redrawn().matrix(3, 4, 0, torch.zeros(1, dtype=dtype)).dtype is dtype


def test_copies_and_settings():
    redrawn = Redrawn(3)
    for twin in (copy.deepcopy(redrawn), pickle.loads(pickle.dumps(redrawn))):
        assert twin == redrawn
        assert torch.equal(twin.matrix(8, 8, 5, LIKE), redrawn.matrix(8, 8, 5, LIKE))
    assert redrawn.settings() == {"name": "redrawn", "seed": 3}
    assert PROJECTIONS.entry("redrawn") is Redrawn
