"""Operations whose feedback is the weight itself equal plain autograd in every architecture.

tests/unit/rules compare the feedback of each rule with its reference; these tests check that it
replaces the right weight in every architecture.
"""

import pytest

import beyondprop as bp
from tests.contract import teaching
from tests.modules import CASES
from tests.unit.layers.transport import Transport


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_are_plain_ones(case):
    model, rule = case.fresh(), Transport(exact=case.exact_under(Transport.name))
    rules = dict.fromkeys(case.backprop, bp.Backprop())
    if rules:
        bp.attach(model, rules | dict.fromkeys(case.blocks or ["*"], rule))
    else:
        bp.attach(model, rule, case.blocks)
    found = teaching.gradients(case, model, case.batch())
    teaching.assert_same(found, teaching.plain_gradients(case), rtol=1e-4, atol=1e-6)
