"""The piece converted to a slot machine."""

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

    It starts from scratch: values and first choices are drawn and do not depend on the teacher's
    weights. Its layers and their widths are those of the piece. It learns under `slots.drive`.

    Args:
        slots: The number of values that each weight can have.
        biases: Whether biases and the parameters of norms are kept and learn as usual.
        seed: The seed of the values.
    """

    name: ClassVar[str] = "slot-machine"
    slots: Count = 8
    biases: bool = False
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a converted copy of the piece."""
        student = learning_copy(piece)
        convert(student, self.slots, seed=self.seed, biases=self.biases)
        return fitting(self.name, student, call)
