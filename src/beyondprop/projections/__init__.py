"""Projections: how a signal is carried to another width."""

from .base import Projection
from .choice import ALL, FULL, UNSTRUCTURED, Cost, choose, costs
from .dense import Dense
from .hadamard import Hadamard
from .low_rank import LowRank
from .redrawn import Redrawn
from .signs import Signs
from .sketched import Sketched
from .sparse import Sparse
from .streamed import Streamed

PROJECTIONS: dict[str, type[Projection]] = {
    kind.name: kind
    for kind in (Dense, Redrawn, Signs, Streamed, Hadamard, Sketched, Sparse, LowRank)
}

__all__ = [
    "ALL",
    "FULL",
    "PROJECTIONS",
    "UNSTRUCTURED",
    "Cost",
    "Dense",
    "Hadamard",
    "LowRank",
    "Projection",
    "Redrawn",
    "Signs",
    "Sketched",
    "Sparse",
    "Streamed",
    "choose",
    "costs",
]
