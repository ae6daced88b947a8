"""Random signs between fast Walsh-Hadamard transforms."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from beyondprop._torch.eager import eager
from beyondprop.kernels.signs import signs
from beyondprop.projections.cached import Shareable
from beyondprop.projections.checks import check
from beyondprop.projections.chunks import in_chunks, unlowered
from beyondprop.random import keys
from beyondprop.registry.limits import Count

MARK = 1
"""Mixed into the seed, so that no other projection draws the same signs."""

BITS = 5
"""The transform uses products with matrices of at most 2^5 rows."""


@dataclass(frozen=True)
class Hadamard(Shareable):
    """A structured map: random signs, then a fast Walsh-Hadamard transform, in two or three rounds.

    The input is padded with zeros to ``n``, the smallest power of two that holds both widths. With
    the Hadamard matrix ``H`` of Sylvester's construction, which is symmetric, and the signs
    ``D_r = diag(sign(i, r))`` of the seed ``key(seed, 1)`` (see `random.keys`), the ``n`` outputs
    are those of ``H D_r / √n`` for ``r = 0, 1, ...``, applied in sequence. If fewer outputs are
    requested, output ``j`` is number ``(j a mod n) xor c`` of them, with ``z = key(key(seed, 1),
    stream, n)``, ``a = z | 1`` and ``c`` the upper half of ``z``, both modulo ``n``. All are
    multiplied by ``√(n / out_features)``.

    Cost: in theory ``rounds × n log2 n`` additions per row, here several times that number of
    multiply-adds, in small matrix products; ``rounds × n`` stored signs. Entries are not
    independent: if both widths are the same power of two, the map is a rotation and keeps every
    norm.

    Args:
        seed: Whole number that, with the stream, determines every sign.
        shared: One map for all blocks of a width; otherwise one per block. A narrower map is not a
            slice of a wider one.
        rounds: The number of rounds. One is too regular for inputs with few nonzero numbers; three
            spread any input.
    """

    name: ClassVar[str] = "hadamard"
    rounds: Count = 2

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the map as a matrix (see `Projection.matrix`), by projecting one-hot inputs."""
        check(like, in_features, out_features)
        one_hot = torch.eye(in_features, dtype=like.dtype, device=like.device)
        return self.project(one_hot, out_features, stream)

    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``."""
        check(x, x.shape[-1], out_features)
        n = 1 << (int(max(x.shape[-1], out_features)) - 1).bit_length()
        dtype = torch.promote_types(x.dtype, torch.float32)
        flips = self._cached(self._draw, n, stream, dtype, x.device)
        chosen = self._chosen(n, out_features, stream, x.device) if out_features < n else None
        rows = x.reshape(-1, x.shape[-1])
        with unlowered(x):
            found = in_chunks(lambda chunk: carried(chunk, flips, chosen), rows, n)
        return found.view(*x.shape[:-1], out_features)

    @eager
    def _draw(self, n: int, stream: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        base = keys.key(keys.key(self.seed, MARK), stream)
        like = torch.empty(0, dtype=dtype, device=device)
        return signs(base, range(self.rounds), range(n), like) / math.sqrt(n)

    def _chosen(self, n: int, count: int, stream: int, device: torch.device) -> Tensor:
        z = keys.key(keys.key(self.seed, MARK), stream, n)
        step, turn = (z | 1) % n, (z >> 32) % n
        return torch.arange(count, device=device) * step % n ^ turn


def carried(x: Tensor, flips: Tensor, chosen: Tensor | None) -> Tensor:
    """Return rows of ``x`` after all rounds, with flips ``(rounds, n)`` and chosen outputs."""
    n = flips.shape[1]
    found: Tensor = F.pad(x.to(flips.dtype), (0, n - x.shape[1]))
    for some in flips:
        found = transform(found * some)
    if chosen is not None:
        found = found.index_select(1, chosen) * math.sqrt(n / len(chosen))
    return found.to(x.dtype)


def transform(x: Tensor) -> Tensor:
    """Return the Walsh-Hadamard transform ``H x`` over the last dimension, a power of two."""
    found, left = x, x.shape[-1].bit_length() - 1
    for steps in range(-(-left // BITS), 0, -1):
        some = -(-left // steps)  # of the remaining bits, so that products have similar sizes
        left -= some
        small = sylvester(some, x)
        if left:
            found = small @ found.reshape(-1, 2**some, 2**left)
        else:
            found = found.reshape(-1, 2**some) @ small
    return found.reshape(x.shape)


def sylvester(bits: int, like: Tensor) -> Tensor:
    """Return the Hadamard matrix of ``2**bits`` rows, with ``like``'s dtype and device."""
    found = like.new_ones(1, 1)
    for _ in range(bits):
        found = torch.cat([torch.cat([found, found], 1), torch.cat([found, -found], 1)])
    return found
