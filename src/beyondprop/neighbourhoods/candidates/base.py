"""The interface of candidates, which build smaller modules with a neighbourhood's interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from beyondprop.neighbourhoods.calls import Call


class Candidate(ABC):
    """Builds the student of a neighbourhood: a dataclass whose fields set the student's size.

    Attributes:
        name: The short name under which it is registered.
    """

    name: ClassVar[str]

    @abstractmethod
    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a student with the piece's arguments, dtype and device.

        It starts from the piece's weights if possible, and does not change the piece.

        Args:
            piece: The teacher's piece, in eval mode.
            call: A call of the piece with one sample, which shows input and output shapes.

        Raises:
            UserError: This piece has no such student; the message gives the reason in one sentence.
        """
