"""What local rules have in common: each block learns by a loss of its own."""

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
    """Yield a sentence where a classifier on a block needs to know how many classes there are."""
    if rule.classes is None and classes_of(block.owner) is None:
        called = type(rule).__name__
        yield (
            f"{called} puts a classifier on block '{block.name}', and how many "
            "classes there are cannot be seen: the model's last layer is not linear, so give "
            f"{called}(..., classes=…)"
        )
