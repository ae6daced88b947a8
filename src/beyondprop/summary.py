"""The report of what attaching changed."""

from collections.abc import Sequence
from dataclasses import dataclass


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
        widths = [max(len(row[i]) for row in cells) for i in range(3)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in cells
        ]
        return "\n".join([f"{self.model}: {len(self.rows)} blocks", *lines, *self.notes])
