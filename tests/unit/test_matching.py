"""How an error meets a block's output: axes with one name are matched, the others are not."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Size

import beyondprop as bp
from beyondprop.matching import match, whole_rows
from beyondprop.shapes import CHANNELS, FEATURES, SOURCE, TOKENS, UNSURE, parse
from tests.reference import matching as slow

WIDTHS = {"batch": 3, "tokens": 2, "rays": 4, "source": 5}


def taught(error, error_axes, shape, axes, weight, samples=None):
    """Return the signal, by the matrix that both have."""
    found = match(error.shape, parse(error_axes), Size(shape), parse(axes))
    assert (found.width, found.features) == tuple(weight.shape)
    signal = found.shaped(found.by_row(error, samples) @ weight)
    rows = found.for_rows(error, samples) @ weight
    assert signal.shape == Size(shape)
    torch.testing.assert_close(found.shaped(rows), signal)
    torch.testing.assert_close(found.rows_of(signal), rows)
    return signal


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@st.composite
def layouts(draw):
    """Two layouts of the same samples, with positions that both have and others."""
    positions = ["tokens", "rays", "source"]
    found = []
    for _ in range(2):
        own = draw(st.sets(st.sampled_from(positions), max_size=2))
        found.append(draw(st.permutations(["batch", *sorted(own), "features"])))
    return found


@given(layouts())
def test_signals_are_those_of_the_reference(names):
    first, second = names
    error = drawn(*({**WIDTHS, "features": 6}[name] for name in first))
    sizes = [{**WIDTHS, "features": 7}[name] for name in second]
    weight = drawn(6, 7)
    found = taught(error, " ".join(first), sizes, " ".join(second), weight)
    torch.testing.assert_close(found, slow.signal(error, first, second, sizes, weight))


def test_what_was_flattened_teaches_like_what_was_not():
    error, weight = drawn(3, 2, 6), drawn(6, 7)
    whole = "batch tokens features"
    expected = taught(error, whole, (3, 2, 7), whole, weight)
    flat = "(batch tokens) features"
    assert torch.equal(taught(error, whole, (6, 7), flat, weight), expected.flatten(0, 1))
    assert torch.equal(taught(error.flatten(0, 1), flat, (3, 2, 7), whole, weight), expected)
    assert torch.equal(
        taught(error.flatten(0, 1), flat, (6, 7), flat, weight), expected.flatten(0, 1)
    )
    pooled = drawn(3, 6)
    rows = taught(pooled, "batch features", (6, 7), flat, weight)
    assert torch.equal(rows, (pooled @ weight).repeat_interleave(2, 0))
    turned = taught(pooled, "batch features", (6, 7), "(tokens batch) features", weight)
    assert torch.equal(turned, (pooled @ weight).repeat(2, 1))


def test_one_number_a_sample_is_one_feature_a_row():
    error, weight = drawn(4), drawn(1, 5)
    expected = error[:, None] @ weight
    assert torch.equal(taught(error, "batch", (4, 5), "batch features", weight), expected)
    found = match(Size((4,)), FEATURES, Size((4, 5)), FEATURES)
    assert torch.equal(found.shaped(found.by_row(error) @ weight), expected)
    alone = match(Size((4,)), FEATURES, Size((5,)), FEATURES)  # one sample without a batch
    assert (alone.width, alone.features) == (4, 5)


def test_graphs_teach_their_own_nodes():
    error, weight = drawn(2, 3), drawn(3, 4)
    samples = torch.tensor([0, 0, 1, 1, 1])
    found = taught(error, "batch features", (5, 4), "nodes features", weight, samples)
    torch.testing.assert_close(found, (error @ weight)[samples])
    one = taught(error[:1], "batch features", (5, 4), "nodes features", weight)
    torch.testing.assert_close(one, (error[:1] @ weight).expand(5, 4))
    nodes = drawn(5, 3)
    rows = taught(nodes, "nodes features", (5, 4), "nodes features", weight)
    torch.testing.assert_close(rows, nodes @ weight)
    with pytest.raises(bp.UserError, match="samples='batch'"):
        taught(error, "batch features", (5, 4), "nodes features", weight)
    with pytest.raises(bp.UserError, match="the sample of each node"):
        taught(error, "batch features", (5, 4), "nodes features", weight, samples[:3])


def test_maps_are_matched_by_pixel():
    error, weight = drawn(2, 3, 4, 4), drawn(3, 5)
    words = "batch channels positions"
    same = taught(error, words, (2, 5, 4, 4), words, weight)
    torch.testing.assert_close(same, torch.einsum("bkhw,kc->bchw", error, weight))
    coarse = taught(error, words, (2, 5, 2, 2), words, weight)
    torch.testing.assert_close(coarse, F.avg_pool2d(same, 2) * 4)
    fine = taught(error, words, (2, 5, 8, 8), words, weight)
    torch.testing.assert_close(fine, F.interpolate(same, scale_factor=2))


def test_maps_have_weights_of_their_own_under_other_errors():
    error, weight = drawn(2, 3), drawn(3, 5 * 4)
    words = "batch channels positions"
    found = taught(error, "batch features", (2, 5, 2, 2), words, weight)
    assert torch.equal(found, (error @ weight).view(2, 5, 2, 2))
    image = drawn(2, 3, 2, 2)
    found = taught(image, words, (2, 7), "batch features", drawn(12, 7))
    torch.testing.assert_close(found, image.flatten(1) @ drawn(12, 7))


@pytest.mark.parametrize(
    ("error", "tap", "axes", "expected"),
    [
        ((6, 10), (6, 32), TOKENS, (10, 32)),
        ((6, 10), (6, 4, 5, 5), CHANNELS, (10, 100)),
        ((6, 7, 10), (6, 7, 32), TOKENS, (10, 32)),
        ((6, 10), (6, 7, 32), TOKENS, (10, 32)),  # the same for all tokens
        ((6, 10), (6, 7, 32), FEATURES, (10, 224)),
        ((6, 7, 10), (6, 9, 32), SOURCE, (10, 32)),
        ((6, 7, 10), (6, 32), TOKENS, (10, 32)),
    ],
)
def test_widths(error, tap, axes, expected):
    found = match(Size(error), TOKENS, Size(tap), axes)
    assert (found.width, found.features) == expected


def test_channels_are_no_tokens():
    """A convolution with as many channels as the output has classes was once read as tokens."""
    found = match(Size((6, 7, 10)), TOKENS, Size((6, 7, 32)), CHANNELS)
    assert (found.width, found.features) == (10, 224)


def test_other_tokens_are_refused_unless_it_is_said_that_they_are_others():
    with pytest.raises(bp.UserError, match="has 7 tokens and a block's has 9"):
        match(Size((6, 7, 10)), TOKENS, Size((6, 9, 32)), TOKENS)


@pytest.mark.parametrize(
    ("error", "tap"), [((), (3, 2)), ((2,), (3, 2)), ((3, 2), (4,)), ((3, 2), (4, 2)), ((3, 2), ())]
)
def test_other_samples_are_refused(error, tap):
    with pytest.raises(bp.UserError, match="same batch dimension"):
        match(Size(error), TOKENS, Size(tap), TOKENS)


def test_what_no_layer_shows_must_be_said():
    with pytest.raises(bp.UserError, match="'tokens batch features'"):
        match(Size((3, 4)), FEATURES, Size((3, 3, 4)), UNSURE)
    assert match(Size((3, 4)), FEATURES, Size((3, 5)), UNSURE).features == 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "cannot be read"),
        ("(batch tokens features", "cannot be read"),
        ("batch features channels", "once"),
        ("(batch features) tokens", "once"),
        ("batch tokens tokens features", "twice"),
        ("batch nodes features", "only one axis can hold samples"),
        ("batch positions channels", "must end with 'positions'"),
    ],
)
def test_words_that_cannot_be_read(words, reason):
    with pytest.raises(bp.UserError, match=reason):
        parse(words)


def test_another_number_of_axes_than_said_is_refused():
    with pytest.raises(bp.UserError, match="has 3 axes, not 2"):
        match(Size((3, 4)), FEATURES, Size((3, 2, 4)), parse("nodes features"))


def test_axes_that_cannot_be_taken_apart_are_refused():
    with pytest.raises(bp.UserError, match="cannot be split into"):
        match(Size((3, 4)), FEATURES, Size((7, 4)), parse("(batch tokens) features"))


@pytest.mark.parametrize("names", list(permutations(["batch", "tokens", "features"])))
def test_any_order_of_axes_can_be_said(names):
    parse(" ".join(names))


def test_rows_of_tensors_that_keep_their_size():
    assert whole_rows(Size((6, 7, 10)), TOKENS, Size((6, 7, 32)), TOKENS) == (42, 10, 32)
    assert whole_rows(Size((6, 7, 10)), TOKENS, Size((6, 9, 32)), TOKENS) == (6, 70, 288)
    assert whole_rows(Size((10,)), TOKENS, Size((32,)), TOKENS) == (1, 10, 32)
    with pytest.raises(bp.UserError, match="same batch dimension"):
        whole_rows(Size((3, 2)), TOKENS, Size((4, 2)), TOKENS)
