"""Kinds of weights of a converted layer, which are chosen by scores."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.slots.values import GlorotUniform, PerConnection, Sharing, Values


class Kind(ABC):
    """A kind of weights: fixed random values, and a choice among options computed from them.

    A connection has one or more fixed values with a score for each. The weight is a step function
    of the scores, and each score learns from the straight-through gradient: that of the weight,
    times the score's value.

    Attributes:
        name: The name in packed files.
        values: The distribution of the fixed values.
        sharing: Which connections have the same values.
        linear_scores: λ of linear layers: initial scores are uniform in (0, λσ), or in (-λσ, λσ)
            if `centred`; σ is the deviation of the layer's values.
        conv_scores: λ of convolutions.
    """

    name: ClassVar[str]
    values: Values
    sharing: Sharing
    linear_scores: float
    conv_scores: float

    @property
    def planes(self) -> int:
        """The number of fixed values, and of scores, of a connection."""
        return 1

    @property
    def count(self) -> int:
        """The number of options of a weight."""
        return 2

    @property
    def bits(self) -> int:
        """The number of bits that encode a weight's option."""
        return (self.count - 1).bit_length()

    @property
    def random(self) -> bool:
        """Whether each forward pass in training mode chooses again."""
        return False

    @property
    def centred(self) -> bool:
        """Whether initial scores are uniform in (-h, h) instead of (0, h)."""
        return False

    @abstractmethod
    def options(self, values: Tensor) -> Tensor:
        """Return the options of a weight, (count, ...), from its values (planes, ...)."""

    def slot(self, option: Tensor) -> Tensor:
        """Return the index of the fixed value of each option: 0, for the only one."""
        return torch.zeros_like(option)

    def weight(self, option: Tensor, value: Tensor) -> Tensor:
        """Return the weight of an option, given the fixed value of its `slot`; all are (n,)."""
        options = self.options(value.unsqueeze(0))  # (count, n)
        return options.gather(0, option.unsqueeze(0)).squeeze(0)

    def chosen(self, scores: Tensor) -> Tensor:
        """Return the option that the scores (planes, ...) choose, int64 of shape (...)."""
        return best(scores)

    def drawn(self, scores: Tensor) -> Tensor:
        """Return the option for a forward pass in training mode."""
        return self.chosen(scores)

    def settings(self) -> dict[str, Any]:
        """Return the settings that a packed file needs to draw the same values, as JSON values."""
        return {"kind": self.name, "values": self.values.name, "sharing": self.sharing.name}


class Selection(ABC):
    """Chooses one slot for every connection."""

    name: ClassVar[str]
    random: ClassVar[bool] = False
    """Whether each forward pass in training mode chooses again; otherwise the best slot is used."""

    @abstractmethod
    def slots(self, scores: Tensor) -> Tensor:
        """Return the chosen slots, int64 of shape (...), from scores (K, ...)."""


@dataclass(frozen=True)
class Greedy(Selection):
    """Chooses the slot with the highest score; in a tie, the first."""

    name: ClassVar[str] = "greedy"

    def slots(self, scores: Tensor) -> Tensor:
        """Return the best slots."""
        return best(scores)


@dataclass(frozen=True)
class Sampled(Selection):
    """Draws a slot from the softmax of the scores, in each forward pass in training mode.

    It uses PyTorch's global generator of the device. In eval mode, in a state dict and in a packed
    file, it is the slot with the highest score.
    """

    name: ClassVar[str] = "sampled"
    random: ClassVar[bool] = True

    def slots(self, scores: Tensor) -> Tensor:
        """Return drawn slots: the first whose cumulative share exceeds a uniform number."""
        if scores.dtype in (torch.float16, torch.bfloat16):
            scores = scores.float()  # half precision is too coarse to draw from
        shares = torch.exp(scores - scores.amax(0)).cumsum(0)  # (K, ...), not normalised
        drawn = torch.rand_like(shares[-1]) * shares[-1]  # (...)
        return (shares[:-1] <= drawn).sum(0)  # (...)


@dataclass(frozen=True)
class Reels(Kind):
    """A slot machine: K fixed random values for each connection (Aladago and Torresani 2021).

    The weight is the value with the highest score, or a value drawn from the scores. The gradient
    of all K scores is ``∂L/∂s_k = ∂L/∂w · W_k``.

    Args:
        slots: K, the number of values of a connection.
        selection: How one is chosen: `Greedy` or `Sampled`.
        values: Their distribution; the paper's `GlorotUniform`, or the released code's
            `WideGlorotUniform`, with λ = 1 for all layers.
        sharing: Which connections have the same values.
        linear_scores: λ of linear layers: initial scores are uniform in (0, λσ).
        conv_scores: λ of convolutions.

    Raises:
        UserError: Fewer than two slots, or more than 65,536.
    """

    name: ClassVar[str] = "reels"
    slots: int = 8
    selection: Selection = field(default_factory=Greedy)
    values: Values = field(default_factory=GlorotUniform)
    sharing: Sharing = field(default_factory=PerConnection)
    linear_scores: float = 0.1
    conv_scores: float = 1.0

    def __post_init__(self) -> None:
        integer = isinstance(self.slots, int) and not isinstance(self.slots, bool)
        if not integer or not 2 <= self.slots <= 2**16:
            raise UserError(
                f"slots must be a whole number from 2 to 65,536, not {self.slots!r}: with fewer "
                "than two values there is nothing to choose"
            )
        check_fields(self)

    @property
    def planes(self) -> int:
        """The number of fixed values, and of scores, of a connection."""
        return self.slots

    @property
    def count(self) -> int:
        """The number of options of a weight."""
        return self.slots

    @property
    def random(self) -> bool:
        """Whether each forward pass in training mode chooses again."""
        return self.selection.random

    def options(self, values: Tensor) -> Tensor:
        """Return the values, as a weight is one of them."""
        return values

    def slot(self, option: Tensor) -> Tensor:
        """Return the option, as each option is a separate value."""
        return option

    def weight(self, option: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002
        """Return the value itself."""
        return value

    def drawn(self, scores: Tensor) -> Tensor:
        """Return the value's index for a forward pass in training mode."""
        return self.selection.slots(scores)

    def settings(self) -> dict[str, Any]:
        """Return the settings that a packed file needs to draw the same values, as JSON values."""
        return super().settings() | {"slots": self.slots}


def best(scores: Tensor) -> Tensor:
    """Return the first of the slots with the highest score, int64 (...), from scores (K, ...)."""
    highest, slots = scores[0].clone(), torch.zeros_like(scores[0], dtype=torch.int64)  # (...)
    for slot, score in enumerate(scores[1:], 1):
        slots[score > highest] = slot
        torch.maximum(highest, score, out=highest)
    return slots
