"""Where the numeric arguments of rules are searched."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from beyondprop.errors import UserError
from beyondprop.experiment.axes import Axis, axes_of, axis_of
from beyondprop.registry.limits import Count, Limits, NotNegative, Positive, Share
from beyondprop.rules import RULES, make


@pytest.mark.parametrize(
    ("value", "annotation", "axis"),
    [
        (0.5, float, Axis(0.05, 5.0, 0.5, logarithmic=True)),
        (0.5, Positive, Axis(0.05, 5.0, 0.5, logarithmic=True)),
        (0.25, Share, Axis(0, 1, 0.25)),
        (5.0, Annotated[float, Limits(2, above=True)], Axis(2, 50.0, 5.0, logarithmic=True)),
        (20, Count, Axis(5, 80, 20, whole=True, logarithmic=True)),
        (2, Count, Axis(1, 8, 2, whole=True, logarithmic=True)),
        (0.0, NotNegative, None),
        (-1.0, float, None),
        (None, float | None, None),
        (True, bool, None),
        ("dense", str, None),
    ],
)
def test_an_axis_is_around_the_default_and_within_limits(
    value: object, annotation: Any, axis: Axis | None
) -> None:
    assert axis_of(value, annotation) == axis


def test_arguments_that_are_given_are_not_searched() -> None:
    assert set(axes_of("pc")) == {"steps", "rate"}
    assert set(axes_of({"rule": "pc", "steps": 3})) == {"rate"}
    assert axes_of("backprop") == {}
    with pytest.raises(UserError, match="unknown rule"):
        axes_of("nothing")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_can_be_made_at_its_usual_values(rule: str) -> None:
    axes = axes_of(rule)
    assert make({"rule": rule} | {name: axis.usual for name, axis in axes.items()}) == make(rule)
