"""Supermasks: one fixed random value for each connection, which its score keeps, hides or turns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.slots.kinds import Kind
from beyondprop.slots.values import KaimingSigns, PerConnection, Sharing, Values

EDGE = math.sqrt(0.5)
"""λ that spreads initial scores over ``1 / sqrt(inputs)``, Kaiming's σ being given: as released
with edge-popup, whose scores are PyTorch's default weights."""


@dataclass(frozen=True)
class Supermask(Kind):
    """A supermask found by edge-popup (Ramanujan et al. 2020): a weight is its value, or zero.

    Of each tensor of n weights those with the ``round(keep n)`` highest scores are kept; of equal
    scores the first. The gradient of every score is ``∂L/∂s = ∂L/∂w · W``, also where the weight is
    zero. The paper ranks the scores themselves, as is done here; the code released with it ranks
    their absolute values.

    Args:
        keep: The share of weights that are not zero.
        values: Their distribution; the paper's best: `KaimingSigns`.
        sharing, linear_scores, conv_scores: See `Kind`.

    Raises:
        UserError: The share is not between 0 and 1.
    """

    name: ClassVar[str] = "supermask"
    keep: float = 0.5
    values: Values = field(default_factory=KaimingSigns)
    sharing: Sharing = field(default_factory=PerConnection)
    linear_scores: float = EDGE
    conv_scores: float = EDGE

    def __post_init__(self) -> None:
        if not _number(self.keep) or not 0 < self.keep < 1:
            raise UserError(
                f"keep must be a share between 0 and 1, not {self.keep!r}: else all weights are "
                "zero, or none, and there is nothing to choose"
            )
        check_fields(self)

    def options(self, values: Tensor) -> Tensor:
        """Return zero and the value, (2, ...), from values (1, ...)."""
        return torch.cat([torch.zeros_like(values), values])

    def chosen(self, scores: Tensor) -> Tensor:
        """Return 1 where a weight is kept and 0 elsewhere, int64 (...), by scores (1, ...)."""
        return highest(scores[0], self.keep).long()


@dataclass(frozen=True)
class MulticoatedSupermask(Kind):
    """Several supermasks over one another, by the same scores (Okoshi et al. 2022).

    Each coat is a supermask with its own share, as in `Supermask`, so that each lies within the one
    before it. The weight is the value times the number of coats that keep it, ``W Σ_n M_n``, as in
    the paper: the sum is not divided by the number of coats, as the innermost ones should stand
    out, and with shares that halve its variance stays near that of a dense layer.

    Args:
        keeps: The share of weights that each coat keeps, from the outermost inwards.
        values: Their distribution.
        sharing, linear_scores, conv_scores: See `Kind`.

    Raises:
        UserError: The shares do not fall from coat to coat, from 1 at most, or are too many.
    """

    name: ClassVar[str] = "multicoated-supermask"
    keeps: Sequence[float] = (0.5, 0.25, 0.125)
    values: Values = field(default_factory=KaimingSigns)
    sharing: Sharing = field(default_factory=PerConnection)
    linear_scores: float = EDGE
    conv_scores: float = EDGE

    def __post_init__(self) -> None:
        shares = tuple(self.keeps) if isinstance(self.keeps, (list, tuple)) else ()
        if not 1 <= len(shares) < 256 or not _falling(shares):
            raise UserError(
                "keeps must be 1 to 255 shares that fall from coat to coat, from 1 at most, such "
                f"as (0.5, 0.25), not {self.keeps!r}"
            )
        object.__setattr__(self, "keeps", shares)
        check_fields(self)

    @property
    def count(self) -> int:
        """How many options a weight has: one more than there are coats."""
        return len(self.keeps) + 1

    def options(self, values: Tensor) -> Tensor:
        """Return 0, 1, 2, ... times the value, (count, ...), from values (1, ...)."""
        coated = (values * coats for coats in range(1, self.count))
        return torch.cat([torch.zeros_like(values), *coated])

    def chosen(self, scores: Tensor) -> Tensor:
        """Return how many coats keep each weight, int64 (...), by scores (1, ...)."""
        coats = torch.zeros_like(scores[0], dtype=torch.int64)  # (...)
        for keep in self.keeps:
            coats += highest(scores[0], keep)
        return coats

    def settings(self) -> dict[str, Any]:
        """Return what a packed file must know to draw the same values, as JSON values."""
        return super().settings() | {"keeps": list(self.keeps)}


@dataclass(frozen=True)
class SignedSupermask(Kind):
    """A signed supermask: a weight is its value, zero, or minus its value (Koster et al. 2022).

    Kept where the score is above the threshold, inverted where it is below minus the threshold, and
    hidden between: how many weights are zero is learned. The gradient of every score is ``∂L/∂s =
    ∂L/∂w · W``. The threshold is the paper's, the same in all layers; where ``λσ`` is below
    it, in layers of very many inputs, all weights begin at zero, so give a smaller one.

    Args:
        threshold: How far from zero a score must be for the weight not to be zero.
        values: Their distribution; the paper has a deviation of its own, made for networks of ELU.
        sharing, linear_scores, conv_scores: See `Kind`.

    Raises:
        UserError: The threshold is negative or not a finite number.
    """

    name: ClassVar[str] = "signed-supermask"
    threshold: float = 0.01
    values: Values = field(default_factory=KaimingSigns)
    sharing: Sharing = field(default_factory=PerConnection)
    linear_scores: float = 1.0
    conv_scores: float = 1.0

    def __post_init__(self) -> None:
        if not _number(self.threshold) or not 0 <= self.threshold < math.inf:
            raise UserError(
                f"threshold must be a finite number that is not negative, not {self.threshold!r}"
            )
        check_fields(self)

    @property
    def count(self) -> int:
        """How many options a weight has."""
        return 3

    @property
    def centred(self) -> bool:
        """Initial scores are uniform in (-h, h)."""
        return True

    def options(self, values: Tensor) -> Tensor:
        """Return minus the value, zero and the value, (3, ...), from values (1, ...)."""
        return torch.cat([-values, torch.zeros_like(values), values])

    def chosen(self, scores: Tensor) -> Tensor:
        """Return 0 for inverted, 1 for hidden, 2 for kept, int64 (...), by scores (1, ...)."""
        score = scores[0]
        return 1 + (score > self.threshold).long() - (score < -self.threshold).long()


def highest(scores: Tensor, share: float) -> Tensor:
    """Return which of the scores are a share's highest, bool of their shape.

    They are exactly ``round(share n)`` of n; of equal scores those that come first.
    """
    flat = scores.reshape(-1)  # (n,)
    count = round(share * len(flat))
    bound = flat.topk(count, sorted=False).values.amin() if count else torch.inf
    above, level = flat > bound, flat == bound  # (n,)
    kept = above | (level & (level.cumsum(0) <= count - above.sum()))
    return kept.reshape(scores.shape)


def _falling(shares: Sequence[Any]) -> bool:
    """Return whether these are numbers that fall, the first 1 at most and the last above 0."""
    numbers = all(map(_number, shares)) and shares[0] <= 1
    return numbers and all(inner < outer for outer, inner in pairwise((*shares, 0.0)))


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
