"""The size from which light would pay, by the laws of a study and the cost model of the optics.

All members of a family take the same number of steps. For a size of direct feedback alignment's
network, the study's laws give the size of a backprop network with the same loss, and the cost model
gives the time of a step of each. Larger sizes than the study's are extrapolated: the laws are not
tested there.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from torch import nn

from benchmarks.common.tables import Cells
from beyondprop.experiment.laws import Points, costs
from beyondprop.experiment.scaling import points
from beyondprop.experiment.statistics import Interval
from beyondprop.experiment.summary import UPPER
from beyondprop.optics import Electronics, Link, PhotonicCost, lighton_opu, optical_cost, step_cost
from beyondprop.tasks import find

RULE, AXIS = "dfa", "parameters"
ROWS = 64
LINK = Link(inputs=1e9, outputs=1e9)
UNIT = " TFLOP/s"
CHIPS = {f"1{UNIT}": 1e12, f"100{UNIT}": 1e14}
"""Assumed electronics, by their operations per second."""
WATTS = 300.0
STEPS = 200
BEYOND = (1e8, 1e9, 1e10)
"""Numbers of parameters to which the laws are extrapolated."""


@dataclass(frozen=True)
class Layers:
    """The networks of a family, with hidden layers of one width.

    Attributes:
        inputs: The number of inputs.
        depth: The number of hidden layers.
        classes: The number of outputs.
    """

    inputs: int
    depth: int
    classes: int = 10

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Layers":
        """Return the family of a study, from its first member's linear layers."""
        model = find(next(iter(record["members"].values()))).model()
        layers = [each for each in model.modules() if isinstance(each, nn.Linear)]
        return cls(layers[0].in_features, len(layers) - 1, layers[-1].out_features)

    def widths(self, parameters: float) -> tuple[int, ...]:
        """Return the widths of input and layers of the network with about as many parameters."""
        square, line = self.depth - 1, self.inputs + self.classes + self.depth
        root = math.sqrt(line**2 + 4 * square * parameters) - line
        width = max(1, round(root / (2 * square) if square else parameters / line))
        return (self.inputs, *[width] * self.depth, self.classes)


def table(record: dict[str, Any]) -> Cells:
    """Return one row per size: the backprop size with the same loss, and the times of a step."""
    family, sizes = Layers.of(record), places(record)
    heads = ("DFA's parameters", "width", "over backprop's for the same loss", *CHIPS)
    return heads, [row(family, *each) for each in zip(sizes, prices(record, sizes), strict=True)]


def places(record: dict[str, Any]) -> list[float]:
    """Return the ends of the study's range of parameters, and sizes beyond it."""
    own = points(record["runs"], RULE, AXIS)
    assert isinstance(own, Points)
    return [own.x.min(), own.x.max(), *(size for size in BEYOND if size > own.x.max())]


def prices(record: dict[str, Any], sizes: list[float]) -> list[Interval]:
    """Return the ratio of the rule's parameters to backprop's for the same loss."""
    own, above = (points(record["runs"], rule, AXIS) for rule in (RULE, UPPER))
    assert isinstance(own, Points)
    assert isinstance(above, Points)
    found = costs(own, above, sizes)
    assert not isinstance(found, str)
    return found


def break_even(record: dict[str, Any]) -> str:
    """Return, in a sentence, the size from which light would pay off against each of the chips."""
    family, sizes = Layers.of(record), np.geomspace(places(record)[0], BEYOND[-1], STEPS).tolist()
    found = prices(record, sizes)
    from_size = {}
    for name, rate in CHIPS.items():
        chip = Electronics(rate, WATTS)
        faster = [
            size
            for size, price in zip(sizes, found, strict=True)
            if ratio(family, size, price.value, chip) <= 1
        ]
        from_size[name] = faster[0] if faster else None
    if not any(from_size.values()):
        rates = " or ".join(name.removesuffix(UNIT) for name in CHIPS)
        which = f"at none of these sizes, against electronics of either {rates}{UNIT}"
        return f"By the fitted laws, light pays off {which}."
    told = [
        f"{f'from {size:.1g} parameters' if size else 'at none of these sizes'} against electronics"
        f" of {name}"
        for name, size in from_size.items()
    ]
    return f"By the fitted laws, light pays off {', and '.join(told)}."


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
    """Return the time of a step of DFA by light over one of backprop with the same loss."""
    widths = family.widths(parameters)
    light = optical_cost(lighton_opu(), chip, LINK, ROWS, family.classes, widths[1])
    own = step_cost(light, chip, ROWS, widths).seconds
    return own / backprop_seconds(chip, family.widths(parameters / price))


def backprop_seconds(chip: Electronics, widths: tuple[int, ...]) -> float:
    """Return the seconds of a backprop step: another product for all layers except the first."""
    behind = sum(before * after for before, after in pairwise(widths[1:]))
    without = step_cost(PhotonicCost(), chip, ROWS, widths).seconds
    return without + 2.0 * ROWS * behind / chip.rate
