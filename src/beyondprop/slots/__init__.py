"""Slot machines and supermasks: networks that learn by choosing among fixed random weights."""

from beyondprop.lazy import listing
from beyondprop.slots.bank import Bank, bank, load_bank
from beyondprop.slots.convert import convert
from beyondprop.slots.drive import drive, drive_scores, driven
from beyondprop.slots.kinds import Greedy, Kind, Reels, Sampled, Selection
from beyondprop.slots.machine import Machine, finetune, freeze, machine_of
from beyondprop.slots.masks import MulticoatedSupermask, SignedSupermask, Supermask
from beyondprop.slots.packed import load, pack
from beyondprop.slots.values import (
    GlorotUniform,
    KaimingSigns,
    KaimingUniform,
    PerConnection,
    PerLayer,
    PerNetwork,
    Sharing,
    Values,
    WideGlorotUniform,
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
    "WideGlorotUniform",
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
__dir__ = listing(__all__)
