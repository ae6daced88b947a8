"""The lower control."""

from dataclasses import dataclass
from typing import ClassVar

from beyondprop.core import Block, Host, Rule, Traits


@dataclass(frozen=True)
class Frozen(Rule):
    """Frozen hidden blocks keep their initial weights; only the output block learns (control)."""

    name: ClassVar[str] = "frozen"
    traits: ClassVar[Traits] = Traits(
        ends_graph=True, learns=False, sends_gradient=False, exact_at_output=True
    )

    def install(self, block: Block, host: Host) -> str:
        """End the graph at the block's output; its parameters get no gradient."""
        host.end_untaught(block)
        return "output detached, no signal: its weights do not change"


REGISTERED = (Frozen,)
