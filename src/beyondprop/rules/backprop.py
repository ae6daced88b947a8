"""The upper control."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from beyondprop.rules.base import Rule

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.engine.blocks import Block


@dataclass(frozen=True)
class Backprop(Rule):
    """Backpropagation: the exact gradient (upper control; Rumelhart et al. 1986).

    As one rule among others it leaves a block's output uncut, so the block learns by the exact
    gradient of whatever teaches the block behind it.
    """

    name: ClassVar[str] = "backprop"
    immediate: ClassVar[bool] = True

    def install(self, block: "Block", attachment: "Attachment") -> str:  # noqa: ARG002
        """Change nothing."""
        return "nothing changed: exact gradient of what follows"
