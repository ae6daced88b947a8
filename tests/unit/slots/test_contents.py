"""Whole numbers in few bits, there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyondprop.slots import Reels
from tests.unit.slots.internals import pack_bits, unpack_bits


@pytest.mark.parametrize(("options", "bits"), [(2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (65536, 16)])
def test_as_few_bits_as_tell_the_options_apart(options, bits):
    assert Reels(options).bits == bits


@given(
    st.integers(1, 16).flatmap(lambda b: st.tuples(st.just(b), st.lists(st.integers(0, 2**b - 1))))
)
def test_what_is_packed_comes_back(case):
    bits, numbers = case
    packed = pack_bits(np.array(numbers, dtype=np.int64), bits)
    assert packed.dtype == np.uint8
    assert packed.shape == (-(-len(numbers) * bits // 8),)
    assert unpack_bits(packed, bits, len(numbers)).tolist() == numbers


def test_the_bytes_are_those_that_the_file_format_promises():
    assert pack_bits(np.array([5, 3, 1]), 3).tolist() == [0b01_011_101, 0b0]
    assert pack_bits(np.array([1, 0, 0, 0, 0, 0, 0, 0, 1]), 1).tolist() == [1, 1]
    assert unpack_bits(np.array([0b01_011_101, 0xFF], dtype=np.uint8), 3, 2).tolist() == [5, 3]
