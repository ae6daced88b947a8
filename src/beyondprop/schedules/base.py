"""What a schedule is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from beyondprop.engine.blocks import Block
    from beyondprop.engine.detach import Cut


class Schedule(ABC):
    """Decides when blocks learn, where that is not after the whole forward pass."""

    @abstractmethod
    def learn(
        self, roots: Sequence[Tensor], gradients: Sequence[Tensor | None], cut: "Cut"
    ) -> None:
        """Have the block that has just run learn.

        Args:
            roots: The block's own loss, or its outputs.
            gradients: The signal at each output; None for a loss.
            cut: The block's end.
        """

    def check(self, blocks: "Sequence[Block]") -> None:  # noqa: B027  most need no check
        """Raise a `UserError` where a rule of these blocks cannot run so."""

    def begin(self) -> None:  # noqa: B027
        """Raise a `UserError` where a pass that begins cannot run so."""
