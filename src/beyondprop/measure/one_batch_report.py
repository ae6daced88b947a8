"""The report of one batch through an attached model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from beyondprop.measure.feedback import Matrix, stored
from beyondprop.projections.cost.memory import size
from beyondprop.text import aligned, html_table

HEAD = (
    "block",
    "calls",
    "output",
    "axes",
    "feedback",
    "stored",
    "reached",
    "gradient",
    "isolation",
)
NUMERIC = {1, 5, 6}
"""Columns with numbers."""

NAMED = 4
"""Maximum number of matrices of one block that the report names."""


@dataclass(frozen=True)
class BatchRow:
    """One block of the report.

    Attributes:
        block: Its name.
        calls: Number of calls in the forward pass; None for parameters without a module.
        shapes: Shapes of the floating-point tensors that it returned in its last call.
        axes: Meaning of the axes of the first of them.
        feedback: The matrices that its rule uses for it.
        reached: Share of its trainable numbers that a gradient reached; None if it has none.
        gradients: Number of its trainable parameters by kind of gradient: "exact", "the rule's",
            "zeros" or "none".
        isolation: What its update depends on: a word, a colon, and the explanation; None for a
            single block, and for parameters without a module.
    """

    block: str
    calls: int | None
    shapes: tuple[tuple[int, ...], ...]
    axes: str | None
    feedback: tuple[Matrix, ...]
    reached: float | None
    gradients: Mapping[str, int]
    isolation: str | None

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the row."""
        known = [matrix.bytes for matrix in self.feedback if matrix.bytes is not None]
        whole = len(known) == len(self.feedback)
        kinds = self.gradients
        return (
            self.block,
            "-" if self.calls is None else str(self.calls),
            ", ".join("×".join(map(str, shape)) or "one number" for shape in self.shapes) or "-",
            self.axes or "-",
            _named(self.feedback) or "-",
            size(stored(self.feedback)) if self.feedback and whole else "-",
            "-" if self.reached is None else f"{self.reached:.0%}",
            ", ".join(k if len(kinds) == 1 else f"{k} ({n})" for k, n in kinds.items()) or "-",
            "-" if self.isolation is None else self.isolation.partition(":")[0],
        )


def _named(feedback: Sequence[Matrix]) -> str:
    more = f" and {len(feedback) - NAMED} more" if len(feedback) > NAMED else ""
    return ", ".join(map(str, feedback[:NAMED])) + more


@dataclass(frozen=True)
class BatchReport:
    """The report of one batch for each block; ``print`` it.

    Attributes:
        model: The model's class.
        rows: One row for each block, in the order they run.
        notes: Sentences on problems to fix.
    """

    model: str
    rows: Sequence[BatchRow]
    notes: Sequence[str]

    @property
    def stored(self) -> int:
        """Total bytes of all matrices; a matrix that blocks share counts once."""
        return stored([matrix for row in self.rows for matrix in row.feedback])

    @property
    def title(self) -> str:
        """The model's class and its number of blocks."""
        count = f"{len(self.rows)} block{'s' if len(self.rows) != 1 else ''}"
        return f"{self.model}: one batch through {count}"

    def cells(self) -> list[tuple[str, ...]]:
        """Return the texts of the table, the headings first."""
        return [HEAD, *(row.cells() for row in self.rows)]

    def _below(self) -> list[str]:
        total = [f"feedback in all: {size(self.stored)}, what blocks share counted once"]
        return [*(total if any(row.feedback for row in self.rows) else []), *self.notes]

    def __str__(self) -> str:
        return "\n".join([self.title, *aligned(self.cells(), right=NUMERIC), *self._below()])

    def _repr_html_(self) -> str:
        return html_table(self.title, self.cells(), right=NUMERIC, notes=self._below())
