"""The matrix of scores on each task after each task, and the measures derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from beyondprop.errors import UserError


@dataclass(frozen=True)
class Matrix:
    """Scores of a stream's experiences while a model learns them in turn.

    Attributes:
        before: The score on each experience before training.
        rows: ``rows[i][j]`` is the score on experience j after experience i; the matrix is square.

    Raises:
        UserError: The matrix is not square with at least two rows, or ``before`` has another
            length.
    """

    before: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        count = len(self.rows)
        if count < 2 or any(len(row) != count for row in (*self.rows, self.before)):
            raise UserError("a matrix of scores must be square, with at least two rows")

    @property
    def average(self) -> float:
        """The mean score of all experiences at the end (Lopez-Paz and Ranzato, 2017: ACC)."""
        return mean(self.rows[-1])

    @property
    def learned(self) -> float:
        """The mean score of each experience immediately after it was learned."""
        return mean(row[place] for place, row in enumerate(self.rows))

    @property
    def forgetting(self) -> float:
        """Mean fall of the scores of all but the last experience from their maximum.

        Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018, equation 3: ``mean_j
        (max_{l < T} a_lj - a_Tj)``; as in released code, the maximum starts when j has been
        learned.
        """
        last = len(self.rows) - 1
        return mean(
            max(row[j] for row in self.rows[j:last]) - self.rows[last][j] for j in range(last)
        )

    @property
    def backward_transfer(self) -> float:
        """Mean change of the scores from immediately after learning an experience to the end.

        Lopez-Paz and Ranzato, "Gradient episodic memory", NeurIPS 2017, equation 3.
        """
        last = len(self.rows) - 1
        return mean(self.rows[last][j] - self.rows[j][j] for j in range(last))

    @property
    def forward_transfer(self) -> float:
        """Mean gain of the scores on an experience, just before it is learned, over the untrained
        model.

        Lopez-Paz and Ranzato, equation 4.
        """
        last = len(self.rows) - 1
        return mean(self.rows[j - 1][j] - self.before[j] for j in range(1, last + 1))

    @classmethod
    def of(cls, before: Sequence[float], rows: Sequence[Sequence[float]]) -> Matrix:
        """Return the matrix with these scores."""
        return cls(tuple(before), tuple(map(tuple, rows)))
