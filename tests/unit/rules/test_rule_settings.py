"""Every rule is built again by what its settings say, whatever it was given."""

import json
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beyondprop as bp
from beyondprop import optics, projections, rules
from beyondprop.projections import Projection
from beyondprop.rules import RULES, Objective

SEEDS = st.integers(0, 2**63 - 1)
SIGNS = st.builds(projections.Signs, seed=SEEDS, shared=st.booleans())
DEVICES = st.sampled_from([optics.ideal(), optics.lighton_opu()])
PROJECTIONS = st.one_of(
    SIGNS,
    st.builds(projections.Dense, seed=SEEDS, shared=st.booleans()),
    st.builds(projections.Hadamard, seed=SEEDS, rounds=st.integers(1, 3)),
    st.builds(projections.Sketched, seed=SEEDS, inner=SIGNS, buckets=st.integers(1, 99)),
    st.builds(optics.PhotonicProjection, seed=SEEDS, device=DEVICES),
)
AUXILIARIES = st.builds(bp.AugLocal, first=st.integers(2, 3), last=st.integers(0, 2))
CRITERIA = st.sampled_from([None, bp.Classes(), bp.Labels(), bp.Values()])
LINEAR = st.builds(bp.CrossEntropy, features=st.integers(1, 99), criterion=CRITERIA)
CLASSIFIERS = st.one_of(
    LINEAR,
    st.builds(bp.CrossEntropy, auxiliary=AUXILIARIES),
)
OBJECTIVES = st.one_of(
    CLASSIFIERS,
    st.builds(bp.SimilarityMatching, criterion=CRITERIA),
    st.builds(bp.PredSim, beta=st.floats(0, 1), prediction=CLASSIFIERS),
    st.builds(bp.InfoPro, classifier=CLASSIFIERS, side=st.integers(2, 9)),
)


def arguments(rule: Any) -> dict[str, Any]:
    """Strategies for those arguments of a rule that are of several kinds."""
    if not is_dataclass(rule):
        return {}
    found: dict[str, Any] = {}
    for field in fields(rule):
        value = getattr(rule, field.name)
        if isinstance(value, Projection):
            found[field.name] = PROJECTIONS
        elif isinstance(value, Objective):
            found[field.name] = OBJECTIVES if isinstance(rule, bp.LocalLoss) else LINEAR
        elif field.name == "exact":
            found[field.name] = st.lists(st.text("ab.*", min_size=1), max_size=2).map(tuple)
        elif field.name == "classes":
            found[field.name] = st.none() | st.integers(1, 9)
    return found


@pytest.mark.parametrize("name", RULES)
@given(data=st.data())
def test_settings_lead_back_to_the_rule(name: str, data: st.DataObject) -> None:
    rule: Any = rules.make(name)
    rule = replace(rule, **{key: data.draw(value) for key, value in arguments(rule).items()})
    found = rule.settings()
    assert rules.make(found, seed=5) == rule
    assert rules.make(json.loads(json.dumps(found)), seed=5) == rule


@pytest.mark.parametrize("name", RULES)
def test_a_name_alone_is_the_usual_form_with_the_runs_seed(name: str) -> None:
    made: Any = rules.make(name, 3)
    assert made.name == name
    for value in vars(made).values():
        assert not isinstance(value, Projection) or value.seed == 3
    assert rules.make(name, 0) == RULES[name]


def test_the_form_of_the_command_line() -> None:
    spec = {"rule": "dfa", "projection": {"hadamard": {"rounds": 2}}}
    assert rules.make(spec, 7) == bp.DirectFeedbackAlignment(projections.Hadamard(7, rounds=2))
    spec = {"rule": "predsim", "objective": {"predsim": {"beta": 0.5}}}
    assert rules.make(spec) == bp.LocalLoss(bp.PredSim(0.5))
    spec = {"rule": "beyondprop.rules:LocalLoss", "objective": "sim"}
    assert rules.make(spec).name == "sim"


def test_light_by_the_name_of_a_preset() -> None:
    spec = {"rule": "dfa", "projection": {"photonic": {"device": "lighton-opu"}}}
    light = optics.PhotonicProjection(3, device=optics.lighton_opu())
    assert rules.make(spec, 3) == bp.DirectFeedbackAlignment(light)


def test_two_rules_of_a_name_share_nothing_they_keep() -> None:
    one: Any = rules.make("dfa")
    other: Any = rules.make("dfa")
    assert one.projection is not other.projection


def test_a_rule_without_a_name_is_refused():
    class Nameless(bp.rules.DirectRule):
        def messages(self, run):
            return run.errors

    with pytest.raises(bp.UserError, match="Nameless has no name: give the class"):
        bp.rules.make(Nameless())
