"""Projections: linear maps that carry a signal to another width."""

from beyondprop.lazy import listing
from beyondprop.projections.base import Projection
from beyondprop.projections.by_size import BySize
from beyondprop.projections.cost.choice import (
    ALL,
    FULL,
    UNSTRUCTURED,
    ProjectionCost,
    choose,
    costs,
)
from beyondprop.projections.dense import Dense
from beyondprop.projections.hadamard import Hadamard
from beyondprop.projections.low_rank import LowRank
from beyondprop.projections.redrawn import Redrawn
from beyondprop.projections.signs import Signs
from beyondprop.projections.sketched import Sketched
from beyondprop.projections.sparse import Sparse
from beyondprop.projections.streamed import Streamed
from beyondprop.registry import Registry

PROJECTIONS: Registry[Projection] = Registry(
    "projection",
    Projection,
    {
        kind.name: kind
        for kind in (Dense, BySize, Redrawn, Signs, Streamed, Hadamard, Sketched, Sparse, LowRank)
    },
)
"""Every projection by its short name; `beyondprop.optics` adds optical ones."""

__all__ = [
    "ALL",
    "FULL",
    "PROJECTIONS",
    "UNSTRUCTURED",
    "BySize",
    "Dense",
    "Hadamard",
    "LowRank",
    "Projection",
    "ProjectionCost",
    "Redrawn",
    "Signs",
    "Sketched",
    "Sparse",
    "Streamed",
    "choose",
    "costs",
]
__dir__ = listing(__all__)
