"""Slot machines and supermasks: networks that learn by choosing among fixed random weights."""

from .convert import convert, finetune, freeze
from .drive import drive, drive_scores
from .kinds import Kind, Reels
from .machine import Machine, machine_of
from .selection import Greedy, Sampled, Selection
from .values import (
    GlorotUniform,
    KaimingSigns,
    KaimingUniform,
    PerConnection,
    PerLayer,
    PerNetwork,
    Sharing,
    Values,
)

__all__ = [
    "GlorotUniform",
    "Greedy",
    "KaimingSigns",
    "KaimingUniform",
    "Kind",
    "Machine",
    "PerConnection",
    "PerLayer",
    "PerNetwork",
    "Reels",
    "Sampled",
    "Selection",
    "Sharing",
    "Values",
    "convert",
    "drive",
    "drive_scores",
    "finetune",
    "freeze",
    "machine_of",
]
