"""The lower control."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from beyondprop.engine.detach import Cut
from beyondprop.rules.backprop import Backprop
from beyondprop.rules.base import Rule

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.engine.blocks import Block


@dataclass(frozen=True)
class Frozen(Rule):
    """Frozen hidden blocks keep their initial weights; only the output block learns (control)."""

    name: ClassVar[str] = "frozen"
    immediate: ClassVar[bool] = True
    cuts: ClassVar[bool] = True
    teaches: ClassVar[bool] = False

    def install(self, block: "Block", attachment: "Attachment") -> str:
        """Cut the block's output and teach nothing there; its parameters get no gradient."""
        attachment.cut(block, Cut(None, block.stream))
        return "output cut, no signal: its weights stay as they are"

    def at_output(self) -> Rule:
        """Return the exact gradient."""
        return Backprop()
