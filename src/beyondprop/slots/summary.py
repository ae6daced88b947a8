"""The report of what converting changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from beyondprop.slots.kinds import Kind


@dataclass(frozen=True)
class Row:
    """One converted parameter.

    Attributes:
        name: Its name.
        shape: Its shape.
        deviation: σ of its fixed values.
        bits: What a weight takes in a packed file.
    """

    name: str
    shape: tuple[int, ...]
    deviation: float
    bits: int


@dataclass(frozen=True)
class ConvertReport:
    """Which weights were converted, what was taken out, and what was left alone and why.

    Attributes:
        model: Name of the model's class.
        kind: What the weights are now.
        rows: The converted parameters.
        removed: Names of parameters that were taken out: biases, and what norms scale by.
        left: Sentences about what learns as ever, or not at all.
    """

    model: str
    kind: Kind
    rows: Sequence[Row]
    removed: Sequence[str]
    left: Sequence[str]

    def __str__(self) -> str:
        head = ("weight", "shape", "values within", "bits")
        cells = [
            head,
            *(
                (r.name, "×".join(map(str, r.shape)), f"±{r.deviation:.4g}", str(r.bits))
                for r in self.rows
            ),
        ]
        widths = [max(len(row[i]) for row in cells) for i in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in cells
        ]
        notes = [f"taken out: {', '.join(self.removed)}"] if self.removed else []
        title = f"{self.model}: {len(self.rows)} weights are now {self.kind}"
        return "\n".join([title, *lines, *notes, *self.left])
