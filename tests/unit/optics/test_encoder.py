"""Encoders: the values that frames and weights represent, at any scale of a row."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import beyondprop as bp
from beyondprop.optics import (
    Binary,
    BitPlanes,
    Exact,
    Ternary,
    UnevenTernary,
)
from tests.reference import optics as reference

ENCODERS = [Exact(), Ternary(), Ternary(0.9), UnevenTernary(), BitPlanes(), BitPlanes(1)]
encoders = pytest.mark.parametrize("encoder", ENCODERS, ids=repr)


def decoded(encoder, x):
    frames, weights = encoder.encode(x)
    return (frames * weights.unsqueeze(-1)).sum(1)


@encoders
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_binary_frames(encoder, dtype):
    frames, weights = encoder.encode(torch.randn(5, 12, dtype=dtype))
    assert frames.shape == (5, encoder.frames, 12)
    assert weights.shape == (5, encoder.frames)
    assert frames.dtype is weights.dtype is dtype
    if not isinstance(encoder, Exact):
        assert ((frames == 0) | (frames == 1)).all()
    assert encoder.encode(torch.zeros(0, 12))[0].shape == (0, encoder.frames, 12)


@encoders
@given(power=st.integers(-60, 60), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_the_scale_of_a_row_changes_nothing(encoder, power, seed):
    """A loss scaled by a power of two gives the same frames to the bit, and scaled weights."""
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(seed))
    frames, weights = encoder.encode(x)
    scaled_frames, scaled_weights = encoder.encode(x * 2.0**power)
    assert torch.equal(frames, scaled_frames)
    assert torch.equal(weights * 2.0**power, scaled_weights)


@encoders
def test_rows_do_not_see_each_other(encoder):
    x = torch.randn(4, 9) * torch.tensor([[1.0], [1e-3], [50.0], [0.0]])
    alone = torch.cat([decoded(encoder, row.unsqueeze(0)) for row in x])
    assert torch.equal(decoded(encoder, x), alone)
    assert not decoded(encoder, x)[3].any()


@pytest.mark.parametrize("encoder", [Ternary(0.4), UnevenTernary(0.4), BitPlanes(3)], ids=repr)
def test_the_reference(encoder):
    x = torch.randn(6, 15, dtype=torch.float64) * 3
    frames, weights = encoder.encode(x)
    for i, row in enumerate(x.tolist()):
        if isinstance(encoder, BitPlanes):
            expected = reference.bit_planes(row, encoder.bits)
        else:
            expected = reference.ternary(row, 0.4, isinstance(encoder, UnevenTernary))
        assert frames[i].tolist() == expected[0]
        torch.testing.assert_close(weights[i], torch.tensor(expected[1], dtype=torch.float64))


def test_exact_and_bit_planes_come_back():
    x = torch.randn(8, 30, dtype=torch.float64)
    torch.testing.assert_close(decoded(Exact(), x), x)
    for bits in (1, 4, 10, 16):
        step = x.abs().amax(1, keepdim=True) / (2**bits - 1)
        assert ((decoded(BitPlanes(bits), x) - x).abs() <= step / 2 + 1e-12).all()


def test_ternary_drops_what_is_small_and_uneven_ternary_fits_a_classifiers_error():
    x = torch.tensor([[3.0, -2.0, 0.1, 0.0, -0.1]])
    assert decoded(Ternary(0.5), x).tolist() == [[2.5, -2.5, 0, 0, 0]]
    assert decoded(UnevenTernary(0.5), x).tolist() == [[3.0, -2.0, 0, 0, 0]]
    error = torch.full((1, 10), 0.1)
    error[0, 3] = -0.9
    torch.testing.assert_close(decoded(UnevenTernary(), error), error)
    assert not torch.allclose(decoded(Ternary(), error), error)


@given(st.floats(0, 0.99), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_every_threshold_keeps_something(threshold, seed):
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    x[0] = 1.0
    assert decoded(Ternary(threshold), x).any(1).all()


def test_binary_shows_zeros_and_ones_only():
    x = torch.tensor([[0.0, 1.0, 1.0]])
    assert torch.equal(decoded(Binary(), x), x)
    with pytest.raises(bp.UserError, match="Binary shows only the numbers 0 and 1"):
        Binary().encode(x / 2)
