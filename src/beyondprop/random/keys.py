"""Keys and 64-bit words of counter-based random numbers, specified to the bit.

They must be the same on every machine, device and library version, as only the seed is stored. All
arithmetic is on 64-bit words, modulo 2^64. With ``golden = 0x9e3779b97f4a7c15``:

- ``spread(z)``: ``z += golden; z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb; z ^ z >> 31``, one step of SplitMix64 (Steele, Lea and
  Flood 2014).
- ``key(n_1, n_2, ...)``: ``z = 0``, then ``z = spread(z ^ n_i)`` for each whole number.
- ``word(j, g) = spread(key(seed, stream, j) + g * golden)``: the g-th number, counted from 0, of
  SplitMix64 started at output j's key.
- ``sign(i, j)``: the sign for input i and output j, +1 if bit ``i mod 64`` of ``word(j, i div 64)``
  is set, counted from the lowest one, otherwise -1.

Nothing depends on the width of a map: a narrower map is a slice of a wider one.
"""

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
MASK = 0xFFFFFFFFFFFFFFFF


def key(*numbers: int) -> int:
    """Return 64 well-mixed bits that depend on whole numbers below 2^64 and on their order."""
    z = 0
    for number in numbers:
        z = (z ^ number) + GOLDEN & MASK
        z = (z ^ z >> 30) * FIRST & MASK
        z = (z ^ z >> 27) * SECOND & MASK
        z ^= z >> 31
    return z


def signed(word: int) -> int:
    """Return the signed number, below 2^63, with the 64 bits of a word."""
    return word - 2**64 if word >> 63 else word


def shifted(z: Tensor, by: int) -> Tensor:
    """Return int64 words shifted right without sign extension, which PyTorch's shift would do."""
    return (z >> by) & (MASK >> by)


def spread(z: Tensor) -> Tensor:
    """Return the mixed words; here and below, words are int64 tensors with the bits of 64-bit
    words."""
    z = z + signed(GOLDEN)
    z = (z ^ shifted(z, 30)) * signed(FIRST)
    z = (z ^ shifted(z, 27)) * signed(SECOND)
    return z ^ shifted(z, 31)


def words(base: int, outputs: range, numbers: range, device: torch.device) -> Tensor:
    """Return words, int64 of shape ``(len(outputs), len(numbers))``.

    Args:
        base: ``key(seed, stream)``.
        outputs: Range of outputs.
        numbers: Range of words of each output.
        device: Device of the result.
    """
    of = torch.arange(outputs.start, outputs.stop, device=device)
    places = torch.arange(numbers.start, numbers.stop, device=device)
    return spread(spread(of ^ signed(base)).unsqueeze(1) + places * signed(GOLDEN))
