"""Under `Immediate` every module learns in one step what it learns in the ordinary loop.

Where that cannot be, a case says why; all others are compared to the last bit.
"""

import pytest
import torch

import beyondprop as bp
from beyondprop.schedules import Immediate
from tests import internals
from tests.contract.teaching import RULES, attach, learned, refusal, taken, taught
from tests.modules import CASE, CASES

CAN = [rule for rule in RULES if bp.rules.RULES[rule].traits.immediate]
CANNOT = [rule for rule in RULES if rule not in CAN]

TWICE = "a block that runs several times in a pass takes a step each time, on other weights then"
NO_TRAINING = "in eval mode nothing learns"
OTHER = {
    **dict.fromkeys(("reuse", "siamese", "rnncell", "rnncell-relu", "grucell", "lstmcell"), TWICE),
    **{case.name: NO_TRAINING for case in CASES if not case.training},
}
"""Cases that learn something else, and why."""

PAIRS = [
    (case, rule)
    for case in CASES
    for rule in CAN
    if taken(case, rule) and refusal(case, rule) is None and case.name not in OTHER
]
ids = [f"{case}-{rule}" for case, rule in PAIRS]


def after_a_step(case, rule, schedule):
    """Return weights, buffers and heads after one step of plain SGD."""
    model = case.fresh()
    handle = attach(case, model, rule)
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.05)
    handle.follow(Immediate(optimizer) if schedule else None)
    torch.default_generator.manual_seed(5)  # of dropout
    loss = taught(case, model, case.batch())
    held = [p for p in learned(model).values() if p.grad is not None]
    assert not held
    loss.backward()
    optimizer.step()
    return {**model.state_dict(), **{f"head {n}": t for n, t in handle.state_dict().items()}}


@pytest.mark.parametrize(("case", "rule"), PAIRS, ids=ids)
def test_a_step_is_that_of_the_ordinary_loop(case, rule):
    expected = after_a_step(case, rule, schedule=False)
    torch.testing.assert_close(after_a_step(case, rule, True), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name, why in OTHER.items() if why == TWICE])
@pytest.mark.parametrize("rule", ["predsim", "drtp"])
def test_a_block_that_runs_several_times_takes_several_steps(name, rule):
    case = CASE[name]
    found, plain = (after_a_step(case, rule, way) for way in (True, False))
    assert any(not torch.equal(found[n], plain[n]) for n in plain)


def test_most_modules_are_compared():
    for rule in CAN:
        compared = sum(rule == other for _, other in PAIRS)
        possible = sum(taken(case, rule) for case in CASES)
        assert compared >= 0.7 * possible, rule
    assert len(PAIRS) > 500


REFUSED = [
    (case, rule)
    for case in CASES
    for rule in CAN
    if case.training and taken(case, rule) and refusal(case, rule)
]


@pytest.mark.parametrize(("case", "rule"), REFUSED, ids=[f"{c}-{r}" for c, r in REFUSED])
def test_what_the_ordinary_loop_refuses_is_refused_here_too(case, rule):
    model = case.fresh()
    handle = attach(case, model, rule)
    handle.follow(Immediate(torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.05)))
    with pytest.raises(bp.UserError, match=refusal(case, rule)):
        taught(case, model, case.batch()).backward()
    assert internals.open_pass(handle) is None


@pytest.mark.parametrize("rule", CANNOT)
@pytest.mark.parametrize("name", ["mlp", "convnet", "residual", "transformer-layer", "rnncell"])
def test_rules_that_cannot_are_refused(name, rule):
    case = CASE[name]
    if not taken(case, rule):
        return
    model = case.fresh()
    handle = attach(case, model, rule)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with pytest.raises(bp.UserError, match="cannot train a block during the forward pass"):
        handle.follow(Immediate(optimizer))
    assert handle.schedule is None
