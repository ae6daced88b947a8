"""The report of what attaching changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from beyondprop.text import aligned

if TYPE_CHECKING:
    from beyondprop.engine.blocks import Block


@dataclass(frozen=True)
class Row:
    """One block of the report.

    Attributes:
        block: Its name.
        rule: Class name of its rule.
        parameters: How many trainable numbers it has.
        change: What was changed, in words.
    """

    block: str
    rule: str
    parameters: int
    change: str


@dataclass(frozen=True)
class AttachReport:
    """Which blocks there are, what was changed, and what was left alone and why."""

    model: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        head = ("block", "rule", "parameters", "what changed")
        cells = [head, *((r.block, r.rule, f"{r.parameters:,}", r.change) for r in self.rows)]
        lines = aligned(cells, right={2})
        return "\n".join([f"{self.model}: {len(self.rows)} blocks", *lines, *self.notes])


def report(
    called: str, model: nn.Module, blocks: "Sequence[Block]", changes: Sequence[str], learned: int
) -> AttachReport:
    """Return what there is to say of an attachment.

    Args:
        called: Name of the model's class.
        model: The model.
        blocks: Its blocks.
        changes: For each block what was changed, in words.
        learned: How many parameters the feedback has that learns by gradients.
    """
    rows = [
        Row(
            block.name,
            type(block.rule).__name__,
            sum(p.numel() for _, p in block.parameters() if p.requires_grad),
            change,
        )
        for block, change in zip(blocks, changes, strict=True)
    ]
    covered = {id(p) for block in blocks for _, p in block.parameters()}
    alone = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in covered]
    notes = [f"in no block, so left with their plain gradient: {', '.join(alone)}"] if alone else []
    if learned:
        notes.append(
            f"feedback that learns: {learned} parameters more for the optimizer, "
            "in handle.parameters()"
        )
    return AttachReport(called, rows, notes)
