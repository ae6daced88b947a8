"""A classifier's confidences and outcomes.

The forecast is that the predicted class is correct. For two classes it can instead be that class 1
is correct.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from beyondprop.errors import UserError

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Forecasts:
    """A classifier's confidences and outcomes.

    Attributes:
        sure: Probability of each forecast, ``(n,)`` in [0, 1].
        came: Whether each forecast was correct, ``(n,)`` bool.

    Raises:
        UserError: There are no forecasts, the two sizes differ, or a value is not a probability.
    """

    sure: Numbers
    came: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not len(self.sure) or self.sure.shape != self.came.shape:
            raise UserError(f"got {len(self.sure)} forecasts and {len(self.came)} outcomes")
        if not ((self.sure >= 0) & (self.sure <= 1)).all():
            raise UserError("forecasts must be probabilities between 0 and 1")

    @classmethod
    def named(cls, probabilities: Tensor, targets: Tensor) -> Forecasts:
        """Return the forecasts that the predicted class is correct.

        Args:
            probabilities: ``(n, classes)``.
            targets: Classes, ``(n,)`` int64.
        """
        sure, named = probabilities.max(1)
        return cls(plain(sure), (named == targets).cpu().numpy())

    @classmethod
    def positive(cls, probabilities: Tensor, targets: Tensor) -> Forecasts:
        """Return the forecasts that class 1 is correct.

        Args:
            probabilities: Probability of class 1, ``(n,)``.
            targets: Classes 0 and 1, ``(n,)``.
        """
        return cls(plain(probabilities), (targets == 1).cpu().numpy())


def plain(values: Tensor) -> Numbers:
    """Return the values as a NumPy array, float64 on the CPU."""
    found: Numbers = values.detach().double().cpu().numpy()
    return found
