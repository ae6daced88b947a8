"""Random signs: specified to the bit, the same by every form, fair."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import projections as reference

from beyondprop.kernels.signs import plain_signs
from beyondprop.projections import Signs
from beyondprop.random import keys

LIKE = torch.zeros(1, dtype=torch.float64)
WORDS = st.integers(0, 2**64 - 1)
PINNED = [
    "1001010011010010",
    "0101001110111001",
    "0111000000000111",
    "1101010100011011",
    "1010101100110011",
]


def test_the_published_numbers_of_splitmix64():
    """From state 1234567, as in the test vectors of several libraries."""
    drawn = reference.splitmix64(1234567, 3)
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.lists(WORDS, max_size=4))
def test_the_keys_are_those_of_slots(numbers):
    assert keys.key(*numbers) == reference.key(*numbers)


@given(WORDS, WORDS, st.integers(0, 2**40), st.integers(0, 2**34))
def test_words(seed, stream, output, place):
    found = keys.words(
        keys.key(seed, stream),
        range(output, output + 2),
        range(place, place + 2),
        torch.device("cpu"),
    )
    for j in range(2):
        begun = reference.key(seed, stream, output + j)
        for g in range(2):
            state = (begun + (place + g) * keys.GOLDEN) % 2**64
            assert found[j, g].item() % 2**64 == reference.spread(state)


def test_the_entries_are_pinned():
    """They must not change with a library's version: a published seed must stay what it was."""
    found = Signs(7).matrix(70, 16, 3, LIKE) > 0
    rows = ["".join("01"[bit] for bit in row) for row in found[[0, 1, 63, 64, 69]].int().tolist()]
    assert rows == PINNED


@given(
    WORDS,
    st.integers(0, 2**40),
    st.integers(1, 9),
    st.integers(0, 2**34),
    st.integers(1, 200),
)
@settings(max_examples=50)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_forms_agree_to_the_bit(dtype, base, first, rows, group, columns):
    pytest.importorskip("numba")
    from beyondprop.kernels import signs_numba

    outputs, inputs = range(first, first + rows), range(64 * group, 64 * group + columns)
    plain = plain_signs(base, outputs, inputs, torch.zeros(1, dtype=dtype))
    assert torch.equal(plain, signs_numba.signs(base, outputs, inputs, torch.zeros(1, dtype=dtype)))
    assert plain.shape == (rows, columns)
    assert set(plain.unique().tolist()) <= {-1.0, 1.0}


def test_all_forms_agree_on_threads(monkeypatch):
    signs_numba = pytest.importorskip("beyondprop.kernels.signs_numba")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(signs_numba, "SHARE", 2**10)
    args = 5, range(1, 102), range(64, 1000)
    plain = plain_signs(*args, torch.zeros(1))
    assert torch.equal(plain, signs_numba.signs(*args, torch.zeros(1)))


@given(WORDS, WORDS, st.integers(1, 140), st.integers(1, 9), st.integers(0, 70), st.integers(0, 9))
def test_a_narrower_matrix_is_a_slice_of_a_wider_one(seed, stream, inputs, outputs, more, wider):
    narrow = Signs(seed).matrix(inputs, outputs, stream, LIKE)
    wide = Signs(seed).matrix(inputs + more, outputs + wider, stream, LIKE)
    assert torch.equal(narrow.sign(), wide[:inputs, :outputs].sign())


def test_moments():
    entries = Signs(1).matrix(1024, 1024, 0, LIKE) * 32
    assert torch.equal(entries.abs(), torch.ones_like(entries))  # a kurtosis of 1
    assert abs(entries.mean()) < 0.004
    for places in (entries.mean(0), entries.mean(1)):  # no input or output leans to a side
        assert places.abs().max() < 5 / 32
        assert abs(places.std() * 32 - 1) < 0.1
    assert entries.view(16, 64, 1024).mean((0, 2)).abs().max() < 5 / 128  # and no bit of the words


def test_projections_are_gaussian_in_the_limit():
    """Over outputs, of any input that is spread out: moments 0, 1, 0 and 3."""
    x = torch.rand(2048, dtype=torch.float64)
    found = Signs(2).project(x / x.norm(), 20000, 0) * 20000**0.5
    for power, moment, within in ((1, 0, 0.03), (2, 1, 0.05), (3, 0, 0.1), (4, 3, 0.3)):
        assert abs((found**power).mean() - moment) < within


def test_it_is_drawn_once():
    signs = Signs(3)
    assert signs.matrix(30, 20, 1, LIKE) is signs.matrix(30, 20, 1, LIKE)
