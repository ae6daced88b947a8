"""Types of numbers with limits, for the fields of dataclasses with settings.

They are annotations, as in `rate: Positive = 0.1`; `check_fields` and `build` enforce them.
"""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Limits:
    """A range of finite numbers.

    Args:
        low: The smallest number.
        high: The largest number.
        above: Whether `low` itself is excluded.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def hold(self, number: float) -> bool:
        """Whether a number is within the limits."""
        inside = self.low < number if self.above else self.low <= number
        return -math.inf < number < math.inf and inside and number <= self.high

    def __str__(self) -> str:
        if self.low == -math.inf:
            return "that is finite"
        if self.high == math.inf:
            return f"above {self.low}" if self.above else f"of {self.low} or more"
        return (
            f"above {self.low}, up to {self.high}"
            if self.above
            else f"from {self.low} to {self.high}"
        )


Finite = Annotated[float, Limits()]
Positive = Annotated[float, Limits(0, above=True)]
NotNegative = Annotated[float, Limits(0)]
Share = Annotated[float, Limits(0, 1)]
PositiveShare = Annotated[float, Limits(0, 1, above=True)]
Count = Annotated[int, Limits(1)]
