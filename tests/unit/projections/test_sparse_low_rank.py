"""Sparse signs and products of two narrow matrices."""

import pytest
import torch

from beyondprop.projections import LowRank, Sparse
from beyondprop.projections import sparse as module

LIKE = torch.zeros(1, dtype=torch.float64)


@pytest.mark.parametrize("density", [1, 1 / 3, 0.05, 0.001])
def test_density_and_moments(density):
    entries = Sparse(1, density=density).matrix(1000, 1000, 0, LIKE) * 1000**0.5
    there = entries != 0
    assert abs(there.double().mean() - density) <= 5 * (density * (1 - density)) ** 0.5 / 1000
    torch.testing.assert_close(entries[there].abs(), torch.full_like(entries[there], density**-0.5))
    assert abs(entries.mean()) < 0.005
    assert abs((entries**2).mean() - 1) < 0.2
    kurtosis = (entries**4).mean() / (entries**2).mean() ** 2
    assert abs(kurtosis * density - 1) < 0.2


def test_what_is_kept_are_the_entries_that_are_not_zero():
    made = Sparse(1, density=0.01)
    made.project(torch.randn(2, 1000), 1000, 0)
    ((places, starts, values),) = made._drawn.values()
    assert len(places) == len(values) == starts[-1]
    assert 9000 < len(values) < 11000


def test_chunks_do_not_change_it(monkeypatch):
    whole = Sparse(1).matrix(60, 50, 0, LIKE)
    monkeypatch.setattr(module, "CHUNK", 100)
    assert torch.equal(Sparse(1).matrix(60, 50, 0, LIKE), whole)


def test_a_density_that_leaves_nothing():
    made = Sparse(1, density=1e-300)
    assert torch.equal(made.project(torch.randn(2, 7), 5, 0), torch.zeros(2, 5))
    assert torch.equal(made.matrix(7, 5, 0, torch.zeros(1)), torch.zeros(7, 5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_makes_no_matrix(dtype, monkeypatch):
    made, x = Sparse(1, density=0.05), torch.randn(3, 300).to(dtype)
    exact = x.double() @ made.matrix(300, 50, 0, LIKE)
    monkeypatch.setattr(Sparse, "matrix", None)
    found = made.project(x, 50, 0)
    assert found.dtype is dtype
    torch.testing.assert_close(found, exact.to(dtype), rtol=1e-2, atol=1e-6)  # rounded at the end


@pytest.mark.parametrize("rank", [1, 3, 10])
def test_the_rank(rank):
    matrix = LowRank(1, rank=rank).matrix(40, 50, 0, LIKE)
    assert torch.linalg.matrix_rank(matrix) == rank


def test_what_is_kept_are_the_factors():
    made = LowRank(1, rank=8)
    made.project(torch.randn(2, 1000), 500, 0)
    kept = [m.shape for factor in made._factors for m in factor._drawn.values()]
    assert kept == [(1000, 8), (8, 500)]
    assert not made._drawn
