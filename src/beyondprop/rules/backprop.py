"""The upper control."""

from dataclasses import dataclass
from typing import ClassVar

from beyondprop.core import Block, Host, Rule


@dataclass(frozen=True)
class Backprop(Rule):
    """Backpropagation: the exact gradient (upper control; Rumelhart et al. 1986).

    Among other rules it does not end a block's graph, so the block learns by the exact gradient of
    whatever teaches the block after it.
    """

    name: ClassVar[str] = "backprop"

    def install(self, block: Block, host: Host) -> str:  # noqa: ARG002
        """Change nothing."""
        return "nothing changed: exact gradient of what follows"


REGISTERED = (Backprop,)
