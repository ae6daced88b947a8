"""The highest of K lines: both staircases write to the bit what comparing all lines gives."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beyondprop.slots import (
    GlorotUniform,
    KaimingSigns,
    PerConnection,
    PerLayer,
    PerNetwork,
)
from beyondprop.slots.source import Source
from beyondprop.slots.staircase import FusedStaircase, PlainStaircase, make


def fused(source):
    pytest.importorskip("numba")
    return FusedStaircase(source)


FORMS = [PlainStaircase, fused]
TYPES = [torch.float32, torch.float64]


def source(planes, shape=(40, 50), seed=0, values=None, sharing=None):
    return Source(
        seed,
        9,
        torch.Size(shape),
        planes,
        values or GlorotUniform(),
        sharing or PerConnection(),
        0.2,
        0.05,
    )


def direct(drawn, at, kept):
    """Return the slopes of the highest lines: all K drawn and compared, by NumPy."""
    slopes, heights = drawn.all_values(at).numpy(), drawn.all_scores(at).numpy()
    numbers = at.numpy()
    top = (heights * numbers.dtype.type(kept) + slopes * numbers).argmax(0)
    return torch.from_numpy(np.take_along_axis(slopes, top[None], 0)[0])


@pytest.mark.parametrize("planes", [2, 3, 8, 16])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("form", FORMS)
def test_random_walks(form, dtype, planes):
    drawn = source(planes)
    stairs, at = form(drawn), torch.zeros(40, 50, dtype=dtype)
    weights = torch.full_like(at, torch.nan)
    first = None
    for step in range(60):
        stairs.write(at, 1.0, weights)
        assert torch.equal(weights, direct(drawn, at, 1.0)), step
        first = weights.clone() if first is None else first
        size = (0.003, 0.05, 1.0)[step % 3]
        at = at + size * torch.randn(40, 50, dtype=dtype) * (torch.rand(40, 50) < 0.7)
    assert (weights != first).double().mean() > 0.2


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("form", FORMS)
def test_initial_scores_that_shrink_vanish_turn_and_come_back(form, dtype):
    drawn, at = source(8), torch.zeros(40, 50, dtype=dtype)
    stairs, weights = form(drawn), torch.full_like(at, torch.nan)
    for kept in (1.0, 0.99, 0.7, 0.123, 1e-3, 0.0, -1e-3, -0.5, -0.5, 0.0, 0.2, 1.0, 1.5):
        for _ in range(4):
            stairs.write(at, kept, weights)
            assert torch.equal(weights, direct(drawn, at, kept)), kept
            at = at + 0.05 * torch.randn(40, 50, dtype=dtype)


@pytest.mark.parametrize("kept", [0.0, -0.5, 1e-60])
@pytest.mark.parametrize("form", FORMS)
def test_begun_where_nothing_is_left_of_initial_scores(form, kept):
    """As behind loading a checkpoint: all weights are written, whatever they were."""
    drawn, at = source(8), torch.randn(40, 50)
    weights = torch.full_like(at, torch.nan)
    form(drawn).write(at, kept, weights)
    assert torch.equal(weights, direct(drawn, at, kept))


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("form", FORMS)
def test_numbers_that_are_not_finite_give_a_value_too(form, number):
    drawn, at = source(2), torch.zeros(40, 50)
    stairs, weights = form(drawn), torch.empty(40, 50)
    stairs.write(at, 1.0, weights)
    at[:20] = number
    stairs.write(at, 1.0, weights)
    assert (drawn.all_values(at) == weights).any(0).all()
    if number != number:  # as comparing the scores one by one gives: the first
        assert torch.equal(weights[:20], drawn.all_values(at)[0, :20])


@pytest.mark.parametrize("form", FORMS)
def test_weights_and_numbers_that_are_not_contiguous(form):
    drawn = source(6)
    kinds = {
        "transposed weights": (torch.zeros(40, 50), torch.zeros(50, 40).t()),
        "transposed numbers": (torch.zeros(50, 40).t(), torch.zeros(40, 50)),
        "a part": (torch.zeros(40, 50), torch.zeros(40, 100)[:, ::2]),
    }
    for at, weights in kinds.values():
        stairs = form(drawn)
        for _ in range(5):
            stairs.write(at, 1.0, weights)
            assert torch.equal(weights, direct(drawn, at.contiguous(), 1.0))
            at.add_(0.1 * torch.randn(40, 50))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(1,), (1023,), (1024,), (1025,), (3, 5, 7, 11), (300, 500)])
def test_sizes(form, shape):
    """Also those at which a chunk or a thread's share ends."""
    drawn = source(3, shape)
    at, weights = torch.randn(shape) * 0.1, torch.empty(shape)
    form(drawn).write(at, 0.9, weights)
    assert torch.equal(weights, direct(drawn, at, 0.9))


@pytest.mark.parametrize("form", FORMS)
def test_writing_counts_for_autograd(form):
    weights = torch.zeros(40, 50)
    before = weights._version
    form(source(3)).write(torch.zeros(40, 50), 1.0, weights)
    assert weights._version > before


@pytest.mark.parametrize(
    ("values", "sharing"),
    [
        (KaimingSigns(), PerConnection()),
        (GlorotUniform(), PerLayer()),
        (GlorotUniform(), PerNetwork()),
    ],
)
def test_other_values_and_sharings(values, sharing):
    """Of lines as steep as one another the higher one counts, and either has the same slope."""
    drawn = source(5, values=values, sharing=sharing)
    stairs, at = make(drawn), torch.zeros(40, 50)
    assert type(stairs) is PlainStaircase
    weights = torch.empty(40, 50)
    for _ in range(30):
        stairs.write(at, 1.0, weights)
        assert torch.equal(weights, direct(drawn, at, 1.0))
        at = at + 0.1 * torch.randn(40, 50)


def test_half_precision_goes_the_plain_way():
    drawn, at = source(4), torch.randn(40, 50).bfloat16() * 0.1
    weights = torch.empty(40, 50, dtype=torch.bfloat16)
    fused(drawn).write(at, 1.0, weights)
    plain = torch.empty_like(weights)
    PlainStaircase(drawn).write(at, 1.0, plain)
    assert torch.equal(weights, plain)


def test_layouts_in_turn():
    drawn = source(4, (4, 8, 3, 3))
    stairs, at = make(drawn), torch.zeros(4, 8, 3, 3)
    for turn in range(3):
        layout = torch.contiguous_format if turn % 2 else torch.channels_last
        weights = torch.empty(4, 8, 3, 3).contiguous(memory_format=layout)
        if turn != 1:
            weights.copy_(direct(drawn, at, 1.0))
        at = at + 0.1 * torch.randn(4, 8, 3, 3)
        stairs.write(at, 1.0, weights)
        assert torch.equal(weights, direct(drawn, at, 1.0))


def test_copies():
    """A staircase is not copied with what it keeps of the weights that it wrote."""
    from beyondprop import slots

    model = torch.nn.Linear(50, 40, bias=False)
    slots.convert(model, 3, seed=0)
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), lr=1.0), model)
    model(torch.randn(3, 50)).sum().backward()
    optimizer.step()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        (reel,) = slots.machine_of(twin).reels
        expected = reel.parameter.detach().clone()
        reel.parameter.data.zero_()
        reel.write()
        assert torch.equal(reel.parameter, expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 16),
    st.integers(0, 2**63 - 1),
    st.floats(-50, 50),
    st.floats(-50, 50),
    st.floats(1e-3, 2.0),
    st.sampled_from(FORMS),
)
def test_the_weight_only_rises(planes, seed, one, other, kept, form):
    drawn = source(planes, (64,), seed)
    stairs = form(drawn)
    low, high = (torch.empty(64, dtype=torch.float64) for _ in range(2))
    stairs.write(torch.full((64,), min(one, other), dtype=torch.float64), kept, low)
    stairs.write(torch.full((64,), max(one, other), dtype=torch.float64), kept, high.copy_(low))
    assert (low <= high).all()
