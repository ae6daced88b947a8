"""Every setting of everything that has some is checked, and the sentence names it."""

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import numpy as np
import pytest

import beyondprop as bp
from beyondprop.neighbourhoods import DRAWS
from beyondprop.neighbourhoods.candidates import CANDIDATES
from beyondprop.optics.parts import PARTS
from beyondprop.projections import PROJECTIONS, Projection
from beyondprop.registry.limits import Limits
from beyondprop.rules import AUXILIARIES, OBJECTIVES, OUTPUTS, RULES

REGISTRIES = RULES, PROJECTIONS, OBJECTIVES, AUXILIARIES, OUTPUTS, CANDIDATES, DRAWS
THINGS = [registry[name] for registry in REGISTRIES for name in registry]
THINGS += [part() for part in PARTS.values()]
THINGS += [bp.LocalLoss(), bp.optics.Link(), bp.optics.Electronics(1.0, 1.0)]

WRONG: dict[type, tuple[Any, ...]] = {
    float: (math.nan, "1", True),
    int: (math.nan, "1", True, 1.5),
    bool: (1, "true", math.nan),
}


def kinds(annotation: Any) -> set[Any]:
    """Return the plain types in an annotation."""
    if get_origin(annotation) is Annotated:
        return kinds(get_args(annotation)[0])
    inner = [each for each in get_args(annotation) if each is not Ellipsis]
    return set().union(*map(kinds, inner)) if inner else {annotation}


def limits(annotation: Any) -> set[Limits]:
    """Return the limits in an annotation."""
    own = {each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Limits)}
    return own.union(*map(limits, get_args(annotation)))


def settings() -> list[Any]:
    """Return everything with each of its fields, and what the field is annotated by."""
    found = {}
    for thing in THINGS:
        if is_dataclass(thing):
            hints = get_type_hints(type(thing), include_extras=True)
            for each in fields(thing):
                if each.init:
                    found[f"{type(thing).__name__}.{each.name}"] = (
                        thing,
                        each.name,
                        hints[each.name],
                    )
    return [pytest.param(*values, id=key) for key, values in found.items()]


@pytest.mark.parametrize(("thing", "name", "annotation"), settings())
def test_a_setting_that_is_wrong_is_named(thing, name, annotation):
    wrong = [value for kind in kinds(annotation) & set(WRONG) for value in WRONG[kind]]
    wrong += [each.low - 1 for each in limits(annotation) if each.low > -math.inf]
    wrong += [each.low for each in limits(annotation) if each.above]
    wrong += [each.high + 1 for each in limits(annotation) if each.high < math.inf]
    wrong += [math.inf] if limits(annotation) else []
    wrong += ["dense", type(thing), 3] if kinds(annotation) & {Projection} else []
    for value in wrong:
        given = (value,) * 2 if get_origin(annotation) is tuple else value
        with pytest.raises(bp.UserError, match=rf"\b{name}\b") as refused:
            replace(thing, **{name: given})
        assert "\n" not in str(refused.value)


def test_every_number_has_limits():
    without = [
        f"{type(thing).__name__}.{name}"
        for thing, name, annotation in (param.values for param in settings())
        if kinds(annotation) & {float, int} and not limits(annotation) and name != "seed"
    ]
    assert not without, f"write their limits as annotations (see registry.limits): {without}"


def test_numbers_become_plain_ones():
    rule = bp.SoftHebb(temperature=[1, np.float32(2)], power=np.int64(1))
    assert rule == bp.SoftHebb(temperature=(1.0, 2.0), power=1.0)
    assert hash(rule) == hash(bp.SoftHebb(temperature=(1.0, 2.0), power=1.0))
    assert type(bp.projections.Hadamard(rounds=np.int64(3)).rounds) is int


@dataclass(frozen=True)
class Own(bp.rules.DirectRule):
    """A rule of a user's own, which says no more than its types."""

    name: ClassVar[str] = "own"
    scale: float = 1.0

    def messages(self, run):
        """Never asked."""
        raise AssertionError(run)


def test_a_rule_of_ones_own_is_checked_without_a_line():
    assert Own(scale=math.inf).scale == math.inf  # its own affair
    with pytest.raises(bp.UserError, match="scale of Own must be a number, not nan"):
        Own(scale=math.nan)
