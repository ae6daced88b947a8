"""Thresholds of the engine, in one object."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Settings:
    """Sizes at which the engine changes its implementation; results do not depend on them.

    Attributes:
        node_above: Number of values in a block's output above which the block's signal is computed
            in a separate graph node. Such a node costs more time than a small signal, but then only
            one signal is in memory at a time.
        nodes_after: Maximum total number of values in the outputs of the small blocks of one pass;
            2²⁰ values are 4 MiB in float32.
        fused_up_to: Maximum total number of values in the activations of a fused chain.
    """

    node_above: int = 2**16
    nodes_after: int = 2**20
    fused_up_to: int = 2**21


SETTINGS = Settings()


@contextmanager
def settings(**changes: int) -> Iterator[None]:
    """Use other thresholds inside the context."""
    before = dict(vars(SETTINGS))
    vars(SETTINGS).update(changes)
    try:
        yield
    finally:
        vars(SETTINGS).update(before)
