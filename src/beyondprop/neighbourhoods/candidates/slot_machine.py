"""The piece as a slot machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from beyondprop._torch.modules import learning_copy
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.students import Seed, fitting
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count
from beyondprop.slots.convert import convert


@dataclass(frozen=True)
class SlotMachine(Candidate):
    """Each weight becomes a choice among fixed random values; see `beyondprop.slots.convert`.

    It begins from scratch: values and first choices are drawn, and nothing of the teacher's weights
    is in them. Its layers and their widths are the piece's. It learns under `slots.drive`.

    Args:
        slots: How many values each weight can have.
        biases: Whether biases, and what norms scale and shift by, are kept and learn as ever.
        seed: Of the values.
    """

    name: ClassVar[str] = "slot-machine"
    slots: Count = 8
    biases: bool = False
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece that was converted."""
        student = learning_copy(piece)
        convert(student, self.slots, seed=self.seed, biases=self.biases)
        return fitting(self.name, student, call)
