"""From what size on light would pay, by the laws of a study and the cost model of the optics.

All members of a family take as many steps. So at a size of direct feedback alignment's network the
study's laws say how large a network backprop needs for the same loss, and the cost model what a
step of each takes. Sizes beyond the study's are extrapolated.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks.common.tables import Cells
from beyondprop.experiment.laws import costs
from beyondprop.experiment.scaling import points
from beyondprop.experiment.statistics import Interval
from beyondprop.experiment.summary import UPPER
from beyondprop.optics import Electronics, Link, lighton_opu, optical_cost, step_cost

RULE, AXIS = "dfa", "parameters"
ROWS = 64
LINK = Link(inputs=1e9, outputs=1e9)
CHIPS = {"1 TFLOP/s": 1e12, "100 TFLOP/s": 1e14}
"""Electronics that are assumed, by their operations a second."""
WATTS = 300.0
BEYOND = (1e8, 1e9, 1e10)
"""Parameters to which the laws are extrapolated."""


@dataclass(frozen=True)
class Layers:
    """The networks of a family: hidden layers of one width.

    Attributes:
        inputs: Numbers in an input.
        depth: Hidden layers.
        classes: Outputs.
    """

    inputs: int
    depth: int
    classes: int = 10

    def widths(self, parameters: float) -> tuple[int, ...]:
        """Return the widths of input and layers of the network of about so many parameters."""
        square, line = self.depth - 1, self.inputs + self.classes + self.depth
        root = math.sqrt(line**2 + 4 * square * parameters) - line
        width = max(1, round(root / (2 * square) if square else parameters / line))
        return (self.inputs, *[width] * self.depth, self.classes)


def table(record: dict[str, Any], family: Layers) -> Cells:
    """Return one row a size: what backprop needs for the same loss, and the times of a step."""
    own, above = (points(record["runs"], rule, AXIS) for rule in (RULE, UPPER))
    assert own is not None
    assert above is not None
    sizes = [own.x.min(), own.x.max(), *(size for size in BEYOND if size > own.x.max())]
    prices = costs(own, above, sizes)
    assert not isinstance(prices, str)
    heads = ("DFA's parameters", "width", "over backprop's for the same loss", *CHIPS)
    return heads, [row(family, *each) for each in zip(sizes, prices, strict=True)]


def row(family: Layers, parameters: float, price: Interval) -> list[str]:
    """Return the cells of one size."""
    widths = family.widths(parameters)
    ends = (price.value, price.low, price.high)
    times = [
        told([ratio(family, parameters, each, Electronics(rate, WATTS)) for each in ends])
        for rate in CHIPS.values()
    ]
    return [f"{parameters:.2g}", f"{widths[1]:,}", told(ends), *times]


def told(values: Any) -> str:
    """Return value, low and high."""
    value, low, high = (f"{each:.2g}" for each in values)
    return f"{value} ({low} to {high})"


def ratio(family: Layers, parameters: float, price: float, chip: Electronics) -> float:
    """Return a step of DFA by light over one of backprop at the size of the same loss."""
    widths = family.widths(parameters)
    light = optical_cost(lighton_opu(), chip, LINK, ROWS, family.classes, widths[1])
    own = step_cost(light, chip, ROWS, widths).seconds
    return own / backprop_seconds(chip, family.widths(parameters / price))


def backprop_seconds(chip: Electronics, widths: tuple[int, ...]) -> float:
    """Return the seconds of a step by backprop: another product for all layers but the first."""
    weights = [before * after for before, after in pairwise(widths)]
    product = 2.0 * ROWS / chip.rate
    simple = chip.simple_rate or chip.rate
    rest = (8.0 * ROWS * sum(widths[1:-1]) + 2.0 * sum(weights)) / simple
    return product * (2 * sum(weights) + sum(weights[1:])) + rest
