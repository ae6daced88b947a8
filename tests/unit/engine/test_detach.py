"""How an error is laid out against a block's output, and that signals are made one at a time."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests import internals
from torch import Size, nn

import beyondprop as bp
from beyondprop.projections import Dense
from beyondprop.shapes import CHANNELS, FEATURES, TOKENS, rows_and_features


@pytest.mark.parametrize(
    ("error", "tap", "expected"),
    [
        ((6, 10), (6, 32), (6, 10, 32)),
        ((6, 10), (6, 4, 5, 5), (6, 10, 100)),
        ((6, 7, 10), (6, 7, 32), (42, 10, 32)),  # tokens
        ((6, 10, 8, 8), (6, 10, 8, 4), (6, 640, 320)),  # pixels are no tokens
        ((10,), (32,), (1, 10, 32)),  # one sample without a batch
    ],
)
def test_layouts(error, tap, expected):
    axes = CHANNELS if len(error) > 3 or len(tap) > 3 else TOKENS
    assert rows_and_features(Size(error), axes, Size(tap), axes) == expected


def test_other_tokens_teach_by_sample_where_that_is_said_alone():
    error, tap = Size((6, 7, 10)), Size((6, 9, 32))
    with pytest.raises(bp.UserError, match="has 7 tokens and a block's has 9"):
        rows_and_features(error, TOKENS, tap, TOKENS)
    assert rows_and_features(error, TOKENS, tap, FEATURES) == (6, 70, 288)


def test_channels_are_no_tokens():
    """A convolution with as many channels as the output has classes was once read as tokens."""
    error, tap = Size((6, 7, 10)), Size((6, 7, 32))
    assert rows_and_features(error, CHANNELS, tap, CHANNELS) == (6, 70, 224)
    assert rows_and_features(error, TOKENS, tap, CHANNELS) == (6, 70, 224)


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
)
def test_sizes_multiply_up_or_are_refused(error, tap):
    if error[0] != tap[0]:
        with pytest.raises(bp.UserError, match="same batch dimension"):
            rows_and_features(Size(error), TOKENS, Size(tap), TOKENS)
        return
    if len(error) == len(tap) == 3 and error[1] != tap[1]:
        with pytest.raises(bp.UserError, match="no token can teach"):
            rows_and_features(Size(error), TOKENS, Size(tap), TOKENS)
        return
    rows, width, features = rows_and_features(Size(error), TOKENS, Size(tap), TOKENS)
    assert rows * width == Size(error).numel()
    assert rows * features == Size(tap).numel()


@pytest.mark.parametrize(("error", "tap"), [((), (3, 2)), ((3,), (3, 2)), ((3, 2), (3,))])
def test_outputs_without_samples_are_refused(error, tap):
    with pytest.raises(bp.UserError):
        rows_and_features(Size(error), TOKENS, Size(tap), TOKENS)


@pytest.mark.parametrize(("keep", "expected"), [(False, 1), (True, 6)])
def test_no_two_signals_are_alive_at_once(keep, expected, monkeypatch):
    """The reason for one node a tap: at 64 blocks, all signals at once cost more than backprop.

    The second case keeps the signals on purpose, to show that the count can see them.
    """
    monkeypatch.setattr(internals.SETTINGS, "node_above", 0)
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", 0)
    alive, most, kept = set(), 0, []

    def project(self, x, out_features, stream):
        nonlocal most
        signal = x @ self.matrix(x.shape[-1], out_features, stream, x)
        alive.add(stream)
        most = max(most, len(alive))
        weakref.finalize(signal, alive.discard, stream)
        kept.extend([signal] * keep)
        return signal

    monkeypatch.setattr(Dense, "project", project)
    layers = [part for _ in range(6) for part in (nn.Linear(8, 8), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(8, 4))
    bp.attach(model, bp.DirectFeedbackAlignment(Dense()))
    F.cross_entropy(model(torch.randn(5, 8)), torch.arange(5) % 4).backward()
    assert most == expected
