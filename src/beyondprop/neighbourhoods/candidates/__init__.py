"""Ready-made candidates: smaller modules with a neighbourhood's interface."""

from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.copy_of import Copy
from beyondprop.neighbourhoods.candidates.depthwise import Depthwise
from beyondprop.neighbourhoods.candidates.fewer_heads import FewerHeads
from beyondprop.neighbourhoods.candidates.grouped import Grouped
from beyondprop.neighbourhoods.candidates.grouped_query import GroupedQuery
from beyondprop.neighbourhoods.candidates.identity import Identity
from beyondprop.neighbourhoods.candidates.linear import Linear
from beyondprop.neighbourhoods.candidates.low_rank import LowRank
from beyondprop.neighbourhoods.candidates.narrower import Narrower
from beyondprop.neighbourhoods.candidates.slot_machine import SlotMachine
from beyondprop.registry import Registry, Spec

CANDIDATES: Registry[Candidate] = Registry(
    "candidate",
    Candidate,
    {
        kind.name: kind
        for kind in (
            *(Copy, Narrower, LowRank, Grouped, Depthwise, FewerHeads, GroupedQuery, SlotMachine),
            *(Linear, Identity),
        )
    },
    key="candidate",
)
"""Every candidate by its short name."""


def make(spec: Spec | Candidate) -> Candidate:
    """Build a candidate from its short name or ``my.module:attribute``, with optional arguments.

    Args:
        spec: See `beyondprop.registry.spec`: ``"copy"``, ``"my.pieces:Mine"``, or
            ``{"candidate": "low-rank", "share": 0.5}``.

    Raises:
        UserError: There is no such candidate, or an argument is unknown, missing or wrong.
    """
    return CANDIDATES.make(spec)


__all__ = [
    "CANDIDATES",
    "Candidate",
    "Copy",
    "Depthwise",
    "FewerHeads",
    "Grouped",
    "GroupedQuery",
    "Identity",
    "Linear",
    "LowRank",
    "Narrower",
    "SlotMachine",
    "make",
]
