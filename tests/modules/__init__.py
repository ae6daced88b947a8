"""Awkward architectures, each small, each with the blocks to name where there is no default."""

from . import attention, chains, images, inputs, outputs, sequences, weights, wiring
from .case import Batch, Case
from .images import convnet
from .outputs import TwoHeads, as_tuple
from .wiring import LateParameter, Residual

PARTS = (chains, wiring, outputs, images, sequences, attention, inputs, weights)
CASES: list[Case] = [case for part in PARTS for case in part.CASES]
CASE = {case.name: case for case in CASES}

__all__ = [
    "CASE",
    "CASES",
    "Batch",
    "Case",
    "LateParameter",
    "Residual",
    "TwoHeads",
    "as_tuple",
    "convnet",
]
