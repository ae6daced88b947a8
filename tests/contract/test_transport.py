"""Operations whose stand-in for a weight is the weight itself are plain autograd, everywhere.

What a rule puts in the weight's place is compared with its reference in tests/unit/rules; here it
is seen that the place is right in every architecture.
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
