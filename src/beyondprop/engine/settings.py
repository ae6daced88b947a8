"""Thresholds of the engine, in one object."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Settings:
    """Sizes above which the engine does something another way; no result depends on them.

    Attributes:
        node_above: Numbers in a block's output above which the block's signal is made in a graph
            node of its own. Such a node costs more time than a small signal, but then no two
            signals need be in memory at once.
        nodes_after: Numbers that the outputs of the small blocks of one pass may have together;
            2²⁰ are 4 MiB in float32.
        fused_up_to: Numbers that all activations of a fused chain may have together.
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
