"""The upper control."""

from dataclasses import dataclass
from typing import ClassVar

from beyondprop.core import Block, Host, Rule


@dataclass(frozen=True)
class Backprop(Rule):
    """Backpropagation: the exact gradient (upper control; Rumelhart et al. 1986).

    Combined with other rules it does not end a block's graph, so the block learns from the exact
    gradient of the signal or loss that teaches the next block.
    """

    name: ClassVar[str] = "backprop"

    def install(self, block: Block, host: Host) -> str:  # noqa: ARG002
        """Change nothing."""
        return "nothing changed: exact gradient"


REGISTERED = (Backprop,)
