"""What is known of each task after each: the matrix of scores, and what is read off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from beyondprop.errors import UserError


@dataclass(frozen=True)
class Matrix:
    """Scores of a stream's experiences while a model learns them in turn.

    Attributes:
        before: The score on each experience before anything was learned.
        rows: ``rows[i][j]`` is the score on experience j when i has been learned, in a square.

    Raises:
        UserError: It is no square of two or more, or ``before`` has another length.
    """

    before: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        count = len(self.rows)
        if count < 2 or any(len(row) != count for row in (*self.rows, self.before)):
            raise UserError("a matrix of scores is a square of two rows or more")

    @property
    def average(self) -> float:
        """The mean score of all experiences at the end (Lopez-Paz and Ranzato, 2017: ACC)."""
        return mean(self.rows[-1])

    @property
    def learned(self) -> float:
        """The mean score of each experience when it had just been learned."""
        return mean(row[place] for place, row in enumerate(self.rows))

    @property
    def forgetting(self) -> float:
        """How far the scores of all but the last experience fell from their best.

        Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018, equation 3:
        ``mean_j (max_{l < T} a_lj - a_Tj)``; here the best is taken from when j had been learned
        on, as released code does.
        """
        last = len(self.rows) - 1
        return mean(
            max(row[j] for row in self.rows[j:last]) - self.rows[last][j] for j in range(last)
        )

    @property
    def backward_transfer(self) -> float:
        """How scores changed from when each had been learned to the end.

        Lopez-Paz and Ranzato, "Gradient episodic memory", NeurIPS 2017, equation 3.
        """
        last = len(self.rows) - 1
        return mean(self.rows[last][j] - self.rows[j][j] for j in range(last))

    @property
    def forward_transfer(self) -> float:
        """How much more is known of an experience just before it is learned than at the start.

        Lopez-Paz and Ranzato, equation 4.
        """
        last = len(self.rows) - 1
        return mean(self.rows[j - 1][j] - self.before[j] for j in range(1, last + 1))

    @classmethod
    def of(cls, before: Sequence[float], rows: Sequence[Sequence[float]]) -> Matrix:
        """Return the matrix of these scores."""
        return cls(tuple(before), tuple(map(tuple, rows)))
