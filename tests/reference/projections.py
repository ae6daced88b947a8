"""Random projections, one entry at a time, from their specifications in whole numbers.

SplitMix64 from Steele, Lea and Flood 2014; the Hadamard matrix by Sylvester's construction; count
sketch from Charikar, Chen and Farach-Colton 2002; sparse signs from Achlioptas 2003. Matrices are
arrays ``(in, out)``.
"""

import numpy as np

WORD = 2**64


def spread(z):
    """Return one step of SplitMix64 from a state."""
    z = (z + 0x9E3779B97F4A7C15) % WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
    return z ^ (z >> 31)


def key(*numbers):
    """Return the hash of whole numbers."""
    z = 0
    for number in numbers:
        z = spread(z ^ number)
    return z


def splitmix64(state, count):
    """Return the first numbers of the generator, by its own loop over states."""
    found = []
    for _ in range(count):
        found.append(spread(state))
        state = (state + 0x9E3779B97F4A7C15) % WORD
    return found


def sign(seed, stream, i, j):
    """Return the sign of input i and output j."""
    word = splitmix64(key(seed, stream, j), i // 64 + 1)[-1]
    return 1 if (word >> (i % 64)) & 1 else -1


def signs(seed, stream, inputs, outputs):
    """Return the matrix of random signs."""
    drawn = [[sign(seed, stream, i, j) for j in range(outputs)] for i in range(inputs)]
    return np.array(drawn) / np.sqrt(outputs)


def sylvester(n):
    """Return the Hadamard matrix of a power of two."""
    if n == 1:
        return np.ones((1, 1))
    half = sylvester(n // 2)
    return np.block([[half, half], [half, -half]])


def hadamard(seed, stream, inputs, outputs, rounds):
    """Return the matrix of rounds of signs and transforms, and then of chosen outputs."""
    n = 1
    while n < max(inputs, outputs):
        n *= 2
    own = key(seed, 1)
    whole = np.eye(n)
    for r in range(rounds):
        flips = np.diag([sign(own, stream, i, r) for i in range(n)])
        whole = sylvester(n) @ flips @ whole / np.sqrt(n)
    chosen = list(range(n))
    if outputs < n:
        z = key(own, stream, n)
        a, c = (z | 1) % n, (z >> 32) % n
        chosen = [(j * a % n) ^ c for j in range(outputs)]
        assert len(set(chosen)) == outputs
    return whole[chosen, :inputs].T * np.sqrt(n / outputs)


def count_sketch(seed, stream, inputs, buckets):
    """Return the matrix that sums inputs into buckets by random signs."""
    found = np.zeros((inputs, buckets))
    for i, word in enumerate(splitmix64(key(key(seed, 2), stream, 0), inputs)):
        found[i, (word >> 32) * buckets // 2**32] = 1 if word & 1 else -1
    return found


def sparse(seed, stream, inputs, outputs, density):
    """Return the matrix of random signs among zeros."""
    found = np.zeros((inputs, outputs))
    for j in range(outputs):
        for i, word in enumerate(splitmix64(key(key(seed, 3), stream, j), inputs)):
            if word // 2**11 < density * 2**53:
                found[i, j] = (1 if word & 1 else -1) / np.sqrt(density * outputs)
    return found


def low_rank(seed, stream, inputs, outputs, rank):
    """Return the product of two matrices of random signs."""
    return signs(key(seed, 4), stream, inputs, rank) @ signs(key(seed, 5), stream, rank, outputs)
