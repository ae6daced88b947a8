"""The dense projection: reproducible, sliceable, Gaussian, norm-keeping."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import beyondprop as bp
from beyondprop.projections import Dense
from beyondprop.random.gaussian import gaussian

LIKE = torch.zeros(1, dtype=torch.float64)
PINNED = ["-0.19543858213361603", "-1.192011973055544", "-0.9871624439466233", "2.237596702767521"]


def test_the_numbers_are_pinned():
    """They must not change with a library's version: a published seed must stay what it was."""
    expected = [float(v) for v in PINNED]
    torch.testing.assert_close(gaussian(7, 3, 4).tolist(), expected, rtol=0, atol=1e-12)


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.integers(1, 50), st.integers(0, 50))
def test_a_shorter_draw_begins_a_longer_one(seed, stream, count, more):
    assert (
        gaussian(seed, stream, count).tolist()
        == gaussian(seed, stream, count + more)[:count].tolist()
    )


@given(st.integers(1, 8), st.integers(1, 9), st.integers(0, 9))
def test_a_shared_matrix_is_sliced_to_each_width(inputs, outputs, more):
    dense = Dense(seed=5, shared=True)
    assert dense.stream(1) == dense.stream(2)
    narrow = dense.matrix(inputs, outputs, dense.stream(1), LIKE) * outputs**0.5
    wide = dense.matrix(inputs, outputs + more, dense.stream(2), LIKE) * (outputs + more) ** 0.5
    torch.testing.assert_close(narrow, wide[:, :outputs])


def test_streams_and_seeds_are_independent():
    matrices = [Dense(seed).matrix(40, 50, stream, LIKE) for seed in (0, 1) for stream in (0, 1)]
    for i, a in enumerate(matrices):
        for b in matrices[:i]:
            assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs() < 0.1


def test_norms_and_moments():
    """4096 → 256: |Px|²/|x|² has mean 1 and standard deviation sqrt(2/256) = 0.0884."""
    x = torch.randn(2000, 4096)
    ratio = Dense().project(x, 256, 0).square().sum(1) / x.square().sum(1)
    assert abs(ratio.mean() - 1) < 0.01
    assert 0.080 < ratio.std() < 0.097
    entries = Dense().matrix(1000, 1000, 0, LIKE).flatten() * 1000**0.5
    assert abs(entries.mean()) < 0.005
    assert abs(entries.std() - 1) < 0.005
    assert abs((entries**4).mean() - 3) < 0.05


def test_linear():
    a, b = torch.randn(3, 7, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    dense = Dense()
    torch.testing.assert_close(
        dense.project(2 * a + b, 5, 0), 2 * dense.project(a, 5, 0) + dense.project(b, 5, 0)
    )


def test_copies_carry_the_seed_and_not_the_matrix():
    dense = Dense(3, shared=True)
    dense.matrix(512, 512, 0, LIKE)
    assert len(pickle.dumps(dense)) < 200
    for twin in (copy.deepcopy(dense), pickle.loads(pickle.dumps(dense))):
        assert twin == dense
        assert torch.equal(twin.matrix(8, 8, 0, LIKE), dense.matrix(8, 8, 0, LIKE))
    assert dense.settings() == {"name": "dense", "seed": 3, "shared": True}


def test_dtype_follows():
    assert Dense().matrix(3, 4, 0, torch.zeros(1, dtype=torch.bfloat16)).dtype is torch.bfloat16


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_the_numbers_are_those_of_a_key_in_a_list(seed, stream):
    """As they were drawn at first: published seeds below 2^63 stay what they were."""
    raw = np.random.Philox(key=[seed, stream]).random_raw(2)
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    first = np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1])
    assert gaussian(seed, stream, 1).tolist() == [first]


@pytest.mark.parametrize("n", [2**63, 2**64 - 3000])
def test_large_seeds_and_streams_do_not_collide(n):
    found = [gaussian(*key, 2).tolist() for key in ((n, 0), (n + 1, 0), (0, n), (0, n + 1))]
    assert len({tuple(numbers) for numbers in found}) == 4


@pytest.mark.parametrize("width", [5.0, True, np.float64(5)])
def test_what_equals_a_width_that_was_drawn_is_refused_all_the_same(width):
    dense, x = Dense(3), torch.randn(4, 7)
    for drawn in (1, 5):
        dense.project(x, drawn, 0)
    with pytest.raises(bp.UserError, match="whole numbers"):
        dense.project(x, width, 0)
    assert torch.equal(dense.project(x, np.int64(5), 0), dense.project(x, 5, 0))
