"""The counter-based generator of all fixed random numbers of slots, specified to the bit.

The numbers must be the same on every machine, device and library version, as a packed file does not
store them. All arithmetic is on 32-bit words, modulo 2^32:

- ``mix(x)``: ``x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x *= 0x846ca68b; x ^= x >> 16``, a
  bijection that flips each output bit with a probability close to one half (C. Wellons,
  "Prospecting for hash functions", 2018, lowbias32).
- ``spread(x)``: the 64-bit finaliser of SplitMix64 (Steele, Lea and Flood 2014) on
  ``x + 0x9e3779b97f4a7c15``.
- ``key(n_1, n_2, ...)``: ``z = 0``, then ``z = spread(z ^ n_i)`` for each whole number, 64 bits.
- ``word(i; s, t) = mix(mix(i ^ low(s)) + low(t))``, where ``i`` is the place of a weight in its
  tensor, ``s = key(seed, stream)`` belongs to the tensor, and ``t = key(seed, stream, k)`` to slot
  ``k``; ``low`` takes the lower 32 bits. A slot's value is computed from this word.
- ``second(x) = (x ^ x >> 15) * 0x9e3779b1``: a slot's initial score is computed from ``second`` of
  its word.
"""

import numpy as np
from torch import Tensor

from beyondprop.random.keys import key, signed, spread

WORD = 0xFFFFFFFF
FIRST, SECOND = 0x7FEB352D, 0x846CA68B
GOLDEN = 0x9E3779B1
LIMIT = 2**32
"""Maximum number of weights in a tensor."""


def place_key(seed: int, stream: int) -> int:
    """Return the word with which a tensor's places are mixed."""
    return key(seed, stream) & WORD


def slot_key(seed: int, stream: int, slot: int) -> int:
    """Return the word of a slot."""
    return key(seed, stream, slot) & WORD


def slot_keys(seed: int, stream: int, slots: Tensor) -> Tensor:
    """Return the words of several slots, int64 with their shape."""
    return spread(slots ^ signed(key(seed, stream))) & WORD


def mix(x: Tensor) -> Tensor:
    """Return the mixed words; here and below, words are int64 tensors of numbers below 2^32."""
    x = x ^ (x >> 16)
    x = x * FIRST & WORD  # an overflow of 64 bits does not affect the lower 32
    x = x ^ (x >> 15)
    x = x * SECOND & WORD
    return x ^ (x >> 16)


def mixed_places(places: Tensor, seed: int, stream: int) -> Tensor:
    """Return the first round, which all slots of a weight share.

    Args:
        places: (n,) int64, the indices of weights in their flattened tensor.
        seed: The network's seed.
        stream: The tensor's stream.
    """
    return mix(places ^ place_key(seed, stream))


def words(mixed: Tensor, seed: int, stream: int, slots: Tensor) -> Tensor:
    """Return words, int64 below 2^32.

    Args:
        mixed: (n,), from `mixed_places`.
        seed: The network's seed.
        stream: The tensor's stream.
        slots: Indices of slots: (K, 1) for all slots of each weight, which gives (K, n); (n,) for
            one slot of each weight.
    """
    return mix(mixed + slot_keys(seed, stream, slots) & WORD)


def second(x: Tensor) -> Tensor:
    """Return a second word for each, (n,) int64 below 2^32; only its upper bits are well mixed."""
    return (x ^ (x >> 15)) * GOLDEN & WORD


def symmetric(word: Tensor, amplitude: float) -> Tensor:
    """Return words as float32 numbers uniform in (-amplitude, amplitude), never zero.

    The upper 24 bits of a word with the last one set, minus 2^23, are an odd whole number, which is
    multiplied by ``amplitude / 2^23`` rounded to float32. One rounded product is the same on every
    machine.
    """
    odd = (word >> 8 | 1) - 2**23
    return odd.float() * float32(amplitude * 2.0**-23)


def positive(word: Tensor, amplitude: float) -> Tensor:
    """Return words as float32 numbers uniform in (0, amplitude), never zero.

    As in `symmetric`, without subtracting 2^23, and multiplied by ``amplitude / 2^24``.
    """
    odd = word >> 8 | 1
    return odd.float() * float32(amplitude * 2.0**-24)


def float32(number: float) -> float:
    """Return a number rounded to float32."""
    return float(np.float32(number))
