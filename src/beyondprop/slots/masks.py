"""Supermasks: one fixed random value per connection, which its score keeps, hides or inverts."""

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
"""The λ that spreads initial scores over ``1 / sqrt(inputs)``, given Kaiming's σ, as in the
released code of edge-popup, whose initial scores are PyTorch's default weights."""


@dataclass(frozen=True)
class Supermask(Kind):
    """A supermask found by edge-popup (Ramanujan et al. 2020): a weight is its value, or zero.

    In each tensor of n weights, those with the ``round(keep n)`` highest scores are kept; in a tie,
    the first. The gradient of every score is ``∂L/∂s = ∂L/∂w · W``, even if the weight is zero.
    Like the paper, this class ranks the scores themselves; the paper's released code ranks their
    absolute values.

    Args:
        keep: The share of weights that are not zero.
        values: Their distribution; by default the paper's best, `KaimingSigns`.
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
                f"keep must be a share between 0 and 1, not {self.keep!r}: otherwise all weights "
                "or none are zero, and there is nothing to choose"
            )
        check_fields(self)

    def options(self, values: Tensor) -> Tensor:
        """Return zero and the value, (2, ...), from values (1, ...)."""
        return torch.cat([torch.zeros_like(values), values])

    def chosen(self, scores: Tensor) -> Tensor:
        """Return 1 where a weight is kept and 0 elsewhere, int64 (...), from scores (1, ...)."""
        return highest(scores[0], self.keep).long()


@dataclass(frozen=True)
class MulticoatedSupermask(Kind):
    """Several nested supermasks with the same scores (Okoshi et al. 2022).

    Each coat is a supermask with its own share, as in `Supermask`, and is contained in the one
    before it. The weight is the value times the number of coats that keep it, ``W Σ_n M_n``, as in
    the paper. The sum is not divided by the number of coats, to emphasise the innermost weights;
    with shares that halve, its variance is close to that of a dense layer.

    Args:
        keeps: The share of weights that each coat keeps, from the outermost inwards.
        values: Their distribution.
        sharing, linear_scores, conv_scores: See `Kind`.

    Raises:
        UserError: The shares do not decrease from at most 1, or there are too many.
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
                "keeps must be 1 to 255 shares that decrease from coat to coat, starting from at "
                f"most 1, such as (0.5, 0.25), not {self.keeps!r}"
            )
        object.__setattr__(self, "keeps", shares)
        check_fields(self)

    @property
    def count(self) -> int:
        """The number of options of a weight: one more than the number of coats."""
        return len(self.keeps) + 1

    def options(self, values: Tensor) -> Tensor:
        """Return 0, 1, 2, ... times the value, (count, ...), from values (1, ...)."""
        coated = (values * coats for coats in range(1, self.count))
        return torch.cat([torch.zeros_like(values), *coated])

    def chosen(self, scores: Tensor) -> Tensor:
        """Return how many coats keep each weight, int64 (...), from scores (1, ...)."""
        coats = torch.zeros_like(scores[0], dtype=torch.int64)  # (...)
        for keep in self.keeps:
            coats += highest(scores[0], keep)
        return coats

    def settings(self) -> dict[str, Any]:
        """Return the settings that a packed file needs to draw the same values, as JSON values."""
        return super().settings() | {"keeps": list(self.keeps)}


@dataclass(frozen=True)
class SignedSupermask(Kind):
    """A signed supermask: a weight is its value, zero, or minus its value (Koster et al. 2022).

    A value is kept if its score is above the threshold, inverted if the score is below minus the
    threshold, and otherwise hidden: the number of zero weights is learned. The gradient of every
    score is ``∂L/∂s = ∂L/∂w · W``. The default threshold is the paper's, the same in all layers. If
    ``λσ`` is below it, as in layers with very many inputs, all weights start at zero, so give a
    smaller one.

    Args:
        threshold: How far from zero a score must be for the weight not to be zero.
        values: Their distribution; the paper uses its own deviation, designed for ELU networks.
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
        """The number of options of a weight."""
        return 3

    @property
    def centred(self) -> bool:
        """Whether initial scores are uniform in (-h, h): they are."""
        return True

    def options(self, values: Tensor) -> Tensor:
        """Return minus the value, zero and the value, (3, ...), from values (1, ...)."""
        return torch.cat([-values, torch.zeros_like(values), values])

    def chosen(self, scores: Tensor) -> Tensor:
        """Return 0 for inverted, 1 for hidden, 2 for kept, int64 (...), from scores (1, ...)."""
        score = scores[0]
        return 1 + (score > self.threshold).long() - (score < -self.threshold).long()


def highest(scores: Tensor, share: float) -> Tensor:
    """Return which scores are in the highest share, bool of the scores' shape.

    They are exactly ``round(share n)`` of n; in a tie, the first.
    """
    flat = scores.reshape(-1)  # (n,)
    count = round(share * len(flat))
    bound = flat.topk(count, sorted=False).values.amin() if count else torch.inf
    above, level = flat > bound, flat == bound  # (n,)
    kept = above | (level & (level.cumsum(0) <= count - above.sum()))
    return kept.reshape(scores.shape)


def _falling(shares: Sequence[Any]) -> bool:
    """Return whether these are decreasing numbers, the first at most 1 and the last above 0."""
    numbers = all(map(_number, shares)) and shares[0] <= 1
    return numbers and all(inner < outer for outer, inner in pairwise((*shares, 0.0)))


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
