"""Projections: how a signal is carried to another width."""

from .base import Projection
from .dense import Dense

PROJECTIONS: dict[str, type[Projection]] = {Dense.name: Dense}

__all__ = ["PROJECTIONS", "Dense", "Projection"]
