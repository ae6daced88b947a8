"""Slot machines and supermasks: networks that learn by choosing among fixed random weights."""

from .bank import Bank, bank, load_bank
from .convert import convert, finetune, freeze
from .drive import drive, drive_scores, driven
from .kinds import Kind, Reels
from .machine import Machine, machine_of
from .masks import MulticoatedSupermask, SignedSupermask, Supermask
from .packed import load, pack
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
    "Bank",
    "GlorotUniform",
    "Greedy",
    "KaimingSigns",
    "KaimingUniform",
    "Kind",
    "Machine",
    "MulticoatedSupermask",
    "PerConnection",
    "PerLayer",
    "PerNetwork",
    "Reels",
    "Sampled",
    "Selection",
    "Sharing",
    "SignedSupermask",
    "Supermask",
    "Values",
    "bank",
    "convert",
    "drive",
    "drive_scores",
    "driven",
    "finetune",
    "freeze",
    "load",
    "load_bank",
    "machine_of",
    "pack",
]
