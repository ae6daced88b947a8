"""The numeric arguments of a rule, and their search ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from beyondprop.registry import Spec, read
from beyondprop.registry.arguments import parameters
from beyondprop.registry.limits import Limits
from beyondprop.rules import RULES, make

FACTOR, FACTOR_OF_COUNTS = 10, 4
"""Factors from an argument's default to the ends of its search range."""


@dataclass(frozen=True)
class Axis:
    """The search range of one number.

    Attributes:
        low: Lower end.
        high: Upper end.
        usual: Default value.
        whole: Whether it is an integer.
        logarithmic: Whether its logarithm is drawn uniformly.
    """

    low: float
    high: float
    usual: float
    whole: bool = False
    logarithmic: bool = False


def axes_of(rule: Spec) -> dict[str, Axis]:
    """Return the axes of a rule's numeric arguments, except those that the spec sets.

    Raises:
        UserError: The rule is unknown.
    """
    name, given = read(rule, RULES.kind, RULES.key)
    made = make(rule)
    found: dict[str, Axis] = {}
    for argument, parameter in (parameters(RULES.entry(name)) or {}).items():
        if argument not in given:
            axis = axis_of(getattr(made, argument, None), parameter.annotation)
            found |= {} if axis is None else {argument: axis}
    return found


def axis_of(value: object, annotation: Any) -> Axis | None:
    """Return the search range of an argument with this default; None if it can't be searched.

    An argument with two finite limits is searched between them. Any other is searched on a
    logarithmic scale, up to a factor below and above its default.
    """
    kind, limits = annotation, Limits()
    if get_origin(annotation) is Annotated:
        kind, *others = get_args(annotation)
        limits = next((each for each in others if isinstance(each, Limits)), limits)
    if kind not in (int, float) or not isinstance(value, int | float):
        return None
    whole = kind is int
    if math.isfinite(limits.low) and math.isfinite(limits.high):
        return Axis(limits.low, limits.high, value, whole)
    if value <= 0:
        return None  # the default gives no scale
    factor = FACTOR_OF_COUNTS if whole else FACTOR
    low = max(value // factor, 1) if whole else value / factor
    high = min(value * factor, limits.high)
    return Axis(max(low, limits.low), high, value, whole, logarithmic=True)
