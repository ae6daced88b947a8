"""The generator of fixed random numbers: to the bit as specified, and random enough."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beyondprop.random import slot_words as generator
from beyondprop.slots import (
    GlorotUniform,
    KaimingSigns,
    KaimingUniform,
    PerConnection,
    PerLayer,
    PerNetwork,
    WideGlorotUniform,
)
from beyondprop.slots.source import Source
from beyondprop.slots.values import Fan
from tests.reference import slots as reference

seeds = st.integers(0, 2**63 - 1)
streams = st.integers(0, 2**64 - 1)
slots = st.integers(0, 2**16 - 1)

PINNED_FIRST = [3287153249, 2401301686, 1211250901, 2194430206]
PINNED_LAST = [1766787902, 1670257540, 998983259]
PINNED_VALUES = [
    -0.13090957701206207,
    -0.25263017416000366,
    -0.18735870718955994,
    0.1767956018447876,
]
PINNED_SCORES = [
    0.006942423991858959,
    0.028648249804973602,
    0.028811421245336533,
    0.019656749442219734,
]


def words(seed, stream, slot, places):
    mixed = generator.mixed_places(torch.as_tensor(places), seed, stream)
    return generator.words(mixed, seed, stream, torch.tensor(slot))


def source(seed=3, stream=5, shape=(3, 4), planes=4, sharing=None, values=None, **kwargs):
    return Source(
        seed,
        stream,
        torch.Size(shape),
        planes,
        values or GlorotUniform(),
        sharing or PerConnection(),
        0.3,
        0.03,
        **kwargs,
    )


@given(seeds, streams, slots, st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_words_are_those_of_the_specification(seed, stream, slot, places):
    expected = [reference.word(seed, stream, slot, place) for place in places]
    drawn = words(seed, stream, slot, places)
    assert drawn.tolist() == expected
    assert generator.second(drawn).tolist() == [reference.second(word) for word in expected]


def test_many_places_are_those_of_the_specification():
    for seed, stream, slot in itertools.product((0, 1, 2**63 - 1), (0, 2**64 - 1), (0, 7, 65535)):
        expected = [reference.word(seed, stream, slot, place) for place in range(200)]
        assert words(seed, stream, slot, range(200)).tolist() == expected


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e3))
def test_numbers_are_rounded_once_and_never_zero(word, amplitude):
    bound = generator.float32(amplitude)
    drawn = generator.symmetric(torch.tensor([word]), amplitude).item()
    assert drawn == reference.symmetric(word, amplitude)
    assert 0 < abs(drawn) <= bound
    above = generator.positive(torch.tensor([word]), amplitude).item()
    assert above == reference.positive(word, amplitude)
    assert 0 < above <= bound


def test_the_outermost_words():
    drawn = generator.symmetric(torch.tensor([0, 2**31 - 1, 2**31, 2**32 - 1]), 1.0)
    assert drawn.tolist() == [-1 + 2**-23, -(2**-23), 2**-23, 1 - 2**-23]
    above = generator.positive(torch.tensor([0, 2**32 - 1]), 1.0)
    assert above.tolist() == [2**-24, 1 - 2**-24]


def test_pinned_numbers():
    """Packed files rely on these; should they change, so must the version of the format."""
    assert words(0, 0, 0, range(4)).tolist() == PINNED_FIRST
    assert words(2**63 - 1, 2**64 - 1, 65535, [0, 1, 2**32 - 1]).tolist() == PINNED_LAST
    like = torch.zeros(())
    drawn = source(shape=(2,), planes=2)
    assert drawn.all_values(like).flatten().tolist() == PINNED_VALUES
    assert drawn.all_scores(like).flatten().tolist() == PINNED_SCORES


@pytest.mark.parametrize("centred", [False, True])
def test_a_source_counts_places_in_the_last_dimension_first(centred):
    drawn, like = source(centred=centred), torch.zeros((), dtype=torch.float64)
    values, scores = drawn.all_values(like), drawn.all_scores(like)
    score = reference.symmetric if centred else reference.positive
    for k, i, j in itertools.product(range(4), range(3), range(4)):
        word = reference.word(3, 5, k, 4 * i + j)
        assert values[k, i, j].item() == reference.symmetric(word, 0.3)
        assert scores[k, i, j].item() == score(reference.second(word), 0.03)


def test_signs_are_the_highest_bit():
    values = source(values=KaimingSigns()).all_values(torch.zeros(())).flatten()
    drawn = [reference.word(3, 5, k, place) for k in range(4) for place in range(12)]
    expected = [1 if word >= 2**31 else -1 for word in drawn]
    assert values.tolist() == [sign * generator.float32(0.3) for sign in expected]
    assert {-1, 1} == set(expected)


def test_who_shares_values():
    like = torch.zeros(())
    own, layer = source(), source(sharing=PerLayer())
    first, other = source(sharing=PerNetwork()), source(stream=6, sharing=PerNetwork())
    assert own.all_values(like).unique().numel() == 48
    expected = own.all_values(like)[:, :1, :1].expand(4, 3, 4)
    assert torch.equal(layer.all_values(like), expected)
    assert torch.equal(first.all_values(like), other.all_values(like))
    assert first.all_values(like).unique().numel() == 4
    assert not torch.equal(layer.all_values(like), first.all_values(like))
    for sharing in (layer, first):  # scores are never shared
        assert torch.equal(sharing.all_scores(like), own.all_scores(like))


@pytest.mark.parametrize("sharing", [PerConnection(), PerLayer(), PerNetwork()])
def test_one_value_of_each_weight_is_drawn_without_the_others(sharing):
    drawn, like = source(sharing=sharing), torch.zeros((), dtype=torch.float64)
    places = torch.tensor([11, 0, 5, 5])
    chosen = torch.tensor([0, 3, 1, 2])
    expected = drawn.values_at(places, like).gather(0, chosen[None])[0]
    assert torch.equal(drawn.value_of(chosen, places, like), expected)


def test_deviations():
    fan = Fan(24, 8)
    assert GlorotUniform().deviation(fan) == 0.25
    assert WideGlorotUniform().deviation(fan) == math.sqrt(6 / 32)
    assert KaimingUniform().deviation(fan) == KaimingSigns().deviation(fan) == math.sqrt(1 / 12)


def test_moments_and_independence():
    """Seeds, streams, slots, neighbours and second words: 100,000 numbers each, deviations 1/316"""
    n, columns = 100_000, []
    for seed, stream, slot in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 2), (1, 1, 1)]:
        word = words(seed, stream, slot, range(n + 1))
        columns += [generator.symmetric(word, 1.0), generator.symmetric(generator.second(word), 1)]
    columns += [columns[0].roll(1), columns[0].roll(64)]
    drawn = torch.stack([column[:n] for column in columns]).double()
    for power, expected in [(1, 0), (2, 1 / 3), (3, 0), (4, 1 / 5)]:
        assert ((drawn**power).mean(1) - expected).abs().max() < 0.01
    for made in (drawn, drawn.abs(), drawn.square(), drawn.sign()):
        correlation = torch.corrcoef(made) - torch.eye(len(made))
        assert correlation.abs().max() < 0.016  # five deviations
    counts = torch.histc(drawn[0], 64, -1, 1)
    assert ((counts - n / 64).square() / (n / 64)).sum() < 63 + 5 * math.sqrt(126)


def test_every_bit_is_even():
    word = words(0, 0, 0, range(100_000))
    for bit in range(32):
        assert abs((word >> bit & 1).double().mean() - 0.5) < 0.01
