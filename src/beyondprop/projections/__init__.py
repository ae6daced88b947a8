"""Projections: how a signal is carried to another width."""

from .base import Projection
from .dense import Dense
from .redrawn import Redrawn

PROJECTIONS: dict[str, type[Projection]] = {kind.name: kind for kind in (Dense, Redrawn)}

__all__ = ["PROJECTIONS", "Dense", "Projection", "Redrawn"]
