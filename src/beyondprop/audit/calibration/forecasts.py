"""How sure a classifier was, and what came true.

For several classes the forecast is that the class named is the right one; for two it may be that
class 1 is.
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
    """How sure a classifier was, and what came true.

    Attributes:
        sure: Probability given to each forecast, ``(n,)`` in [0, 1].
        came: Whether it came true, ``(n,)`` bool.

    Raises:
        UserError: There are none, or some are no probabilities.
    """

    sure: Numbers
    came: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not len(self.sure) or self.sure.shape != self.came.shape:
            raise UserError(f"got {len(self.sure)} forecasts and {len(self.came)} outcomes")
        if not ((self.sure >= 0) & (self.sure <= 1)).all():
            raise UserError("forecasts are probabilities, and some are not between 0 and 1")

    @classmethod
    def named(cls, probabilities: Tensor, targets: Tensor) -> Forecasts:
        """Return the forecasts that the class named is right.

        Args:
            probabilities: ``(n, classes)``.
            targets: Classes, ``(n,)`` int64.
        """
        sure, named = probabilities.max(1)
        return cls(plain(sure), (named == targets).cpu().numpy())

    @classmethod
    def positive(cls, probabilities: Tensor, targets: Tensor) -> Forecasts:
        """Return the forecasts that class 1 is right.

        Args:
            probabilities: Of class 1, ``(n,)``.
            targets: Classes 0 and 1, ``(n,)``.
        """
        return cls(plain(probabilities), (targets == 1).cpu().numpy())


def plain(values: Tensor) -> Numbers:
    """Return numbers of NumPy's, float64 on the CPU."""
    found: Numbers = values.detach().double().cpu().numpy()
    return found
