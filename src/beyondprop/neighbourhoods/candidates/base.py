"""What a candidate is: a smaller module with a neighbourhood's interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from beyondprop.neighbourhoods.calls import Call


class Candidate(ABC):
    """Builds the student of a neighbourhood: a dataclass whose fields say how large it is.

    Attributes:
        name: As people write it, and as it is registered.
    """

    name: ClassVar[str]

    @abstractmethod
    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a student that can be called as the piece is, in the piece's dtype and device.

        It begins from the piece's weights where that is possible, and leaves the piece as it is.

        Args:
            piece: The teacher's, in eval mode.
            call: One call of it, of one sample: shows the shapes of its inputs and of its output.

        Raises:
            UserError: There is no such student of this piece; it says why in one sentence.
        """
