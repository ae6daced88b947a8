"""The encoder: represents real numbers by patterns of mirrors that are on or off."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Limits


@dataclass(frozen=True)
class Encoder(ABC):
    """Encodes each row as *frames*, patterns that are shown one after the other.

    The medium is linear, so the weighted sum of its outputs for the frames is its output for the
    encoded row. Weights and thresholds follow each row's own scale: a loss scaled by a power of two
    gives exactly the same frames.
    """

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def frames(self) -> int:
        """The number of frames for each row."""
        return 1

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode rows.

        Args:
            x: Finite rows, shape ``(n, in)``.

        Returns:
            Frames, shape ``(n, frames, in)``, and weights, shape ``(n, frames)``, both with x's
            dtype. The encoded rows are the weighted sums of their frames.
        """


@final
@dataclass(frozen=True)
class Exact(Encoder):
    """An ideal modulator of real amplitudes between -1 and 1, which no mirror can achieve.

    There is one frame: the row divided by its largest magnitude, which is the weight.
    """

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows scaled to magnitudes of at most 1, and their scales."""
        unit, peak = _scaled(x)
        return unit.unsqueeze(1), peak


@final
@dataclass(frozen=True)
class Binary(Encoder):
    """Shows rows that are already binary, in one frame of weight 1; rejects other rows."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows unchanged."""
        if not bool(((x == 0) | (x == 1)).all()):
            raise UserError(
                "Binary shows only the numbers 0 and 1: compare your input with a threshold first, "
                "or use Ternary or BitPlanes"
            )
        return x.unsqueeze(1), x.new_ones(len(x), 1)


@final
@dataclass(frozen=True)
class Ternary(Encoder):
    """Drops small entries and gives all others one magnitude, with a frame for each sign.

    ``x ≈ m (p - q)`` with binary ``p``, where ``x > t rms(x)``, and ``q``, where ``x < -t rms(x)``.
    ``m``, the mean magnitude of the remaining entries, is the least-squares optimum. Ternary
    errors: Launay et al. 2020 (arXiv 2006.01475). The magnitude: Li and Liu 2016, ternary weight
    networks. It is the same for both signs, so a low threshold overweights many small entries of
    one sign: see `UnevenTernary`.

    Args:
        threshold: ``t``, in units of the row's root mean square, from 0 to 0.99 (a row's largest
            magnitude is never below its root mean square, so at least one entry remains).
    """

    threshold: Annotated[float, Limits(0, 0.99)] = 0.75

    @property
    def frames(self) -> int:
        """One for each sign."""
        return 2

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the remaining positive and negative entries, and plus and minus m."""
        unit, peak = _scaled(x)
        frames = _by_sign(unit, self.threshold)  # (n, 2, in)
        kept = frames.sum(1)  # (n, in)
        total = (unit.abs() * kept).sum(-1, keepdim=True)
        magnitude = total / kept.sum(-1, keepdim=True).clamp(min=1)  # (n, 1)
        return frames, magnitude * peak * x.new_tensor([1, -1])


@final
@dataclass(frozen=True)
class UnevenTernary(Encoder):
    """Like `Ternary`, but with a separate magnitude for each sign.

    The two frames are weighted anyway, so this needs no additional light. It exactly represents the
    error of a classifier with equal probabilities for all classes: one large negative entry, many
    small positive ones. With a single magnitude, the small ones would outweigh the large one and
    push all blocks in the same direction for every class.

    Args:
        threshold: As in `Ternary`.
    """

    threshold: Annotated[float, Limits(0, 0.99)] = 0.25

    @property
    def frames(self) -> int:
        """One for each sign."""
        return 2

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the remaining positive and negative entries, and their magnitudes."""
        unit, peak = _scaled(x)
        frames = _by_sign(unit, self.threshold)  # (n, 2, in)
        total = (unit.abs().unsqueeze(1) * frames).sum(-1)
        magnitudes = total / frames.sum(-1).clamp(min=1)  # (n, 2)
        return frames, magnitudes * peak * x.new_tensor([1, -1])


@final
@dataclass(frozen=True)
class BitPlanes(Encoder):
    """Rounds rows to signed whole numbers, with a frame for each sign and bit.

    ``x ≈ s / (2^b - 1) Σ_k 2^k (p_k - q_k)``, where ``s`` is the row's largest magnitude.

    Args:
        bits: ``b``, the bits of a magnitude, from 1 to 16.
    """

    bits: Annotated[int, Limits(1, 16)] = 4

    @property
    def frames(self) -> int:
        """Two for each bit."""
        return 2 * self.bits

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bits of the positive and then of the negative entries, and their weights."""
        unit, peak = _scaled(x)
        levels = 2**self.bits - 1
        whole = (unit * levels).round().long()
        parts = torch.stack([whole.clamp(min=0), (-whole).clamp(min=0)], 1)  # (n, 2, in)
        place = torch.arange(self.bits, device=x.device)
        planes = (parts.unsqueeze(2) >> place.view(-1, 1)) & 1  # (n, 2, bits, in)
        worth = 2.0 ** place.to(x.dtype) / levels
        return planes.flatten(1, 2).to(x.dtype), peak * torch.cat([worth, -worth])


def _scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows divided by their largest magnitudes, if not 0, and these, ``(n, 1)``."""
    peak = x.abs().amax(-1, keepdim=True)
    return x / peak.where(peak > 0, 1), peak


def _by_sign(unit: Tensor, threshold: float) -> Tensor:
    """Return frames ``(n, 2, in)`` of the entries above a threshold and of those below minus it.

    Args:
        unit: The rows, ``(n, in)``.
        threshold: The threshold, in units of a row's root mean square.
    """
    least = threshold * unit.square().mean(-1, keepdim=True).sqrt()  # (n, 1)
    return torch.stack([unit > least, unit < -least], 1).to(unit.dtype)
