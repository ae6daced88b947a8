"""Common parts of local rules, under which each block has its own loss."""

from collections.abc import Iterator
from typing import Any

from beyondprop.core import Block, Traits
from beyondprop.shapes import classes_of

LOCAL = Traits(
    frozenset({"output"}),
    ends_graph=True,
    exact_at_output=True,
    scales_with_loss=False,
    drawn_once=frozenset({"projection"}),
)


def uncounted_classes(rule: Any, block: Block) -> Iterator[str]:
    """Yield a sentence if a classifier on a block needs the number of classes, which is unknown."""
    if rule.classes is None and classes_of(block.owner) is None:
        called = type(rule).__name__
        yield (
            f"{called} puts a classifier on block '{block.name}', but the number of classes is "
            f"unknown, as the model's last layer is not linear: set {called}(..., classes=…)"
        )
