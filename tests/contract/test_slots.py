"""Slot machines under every rule: weights stay among their fixed values, and learn as rules say."""

import copy
import pickle

import pytest
import torch

import beyondprop as bp
from beyondprop import slots
from tests.contract.teaching import assert_same, attach, few, gradients, learned, pairs, taught
from tests.modules import CASE, CASES

REFUSED = {
    "places-of-their-own": "'1.table' is a parameter of Positions",
    **dict.fromkeys(("weight_norm", "spectral_norm", "orthogonal"), "is computed from other"),
}
CONVERTED = [case for case in CASES if case.name not in REFUSED]
each = pytest.mark.parametrize("case", CONVERTED, ids=str)


def machine(case, **options):
    """Return the module as a slot machine, always the same."""
    model = case.fresh()
    return model, slots.convert(model, 3, seed=1, **options)


@pytest.mark.parametrize(("name", "said"), REFUSED.items(), ids=REFUSED)
def test_what_does_not_convert(name, said):
    with pytest.raises(bp.UserError, match=said):
        slots.convert(CASE[name].fresh(), 3)


@each
def test_a_converted_module_has_the_same_keys_less_biases(case):
    plain = set(case.fresh().state_dict())
    model, made = machine(case)
    assert set(model.state_dict()) | set(made.report.removed) == plain
    kept, made = machine(case, biases=True)
    assert set(kept.state_dict()) == plain
    assert not made.report.removed


@each
def test_copies_go_on_by_themselves(case):
    model, _ = machine(case)
    twins = [copy.deepcopy(model)]
    twins += [pickle.loads(pickle.dumps(model))] if case.pickles else []
    stepped(case, model, None)
    for twin in twins:
        stepped(case, twin, None)
        assert slots.machine_of(twin).model is twin
        for name, value in model.state_dict().items():
            assert torch.equal(twin.state_dict()[name], value), name


@each
def test_a_frozen_machine_is_the_plain_module_with_the_chosen_weights(case):
    model, made = machine(case)
    chosen = {reel.name: reel.parameter.clone() for reel in made.reels}
    plain = slots.freeze(model)
    assert plain is model
    assert slots.machine_of(model) is None
    for name, weight in chosen.items():
        assert torch.equal(model.get_parameter(name), weight)
        assert not model.get_parameter(name).requires_grad


def stepped(case, model, rule):
    """Take one step of a driven SGD and return the attachment."""
    handle = None if rule is None else attach(case, model, rule)
    optimizer = slots.drive(torch.optim.SGD(learned(model).values(), 0.5, momentum=0.9), model)
    torch.default_generator.manual_seed(5)  # of dropout
    taught(case, model, case.batch()).backward()
    optimizer.step()
    return handle


@pairs(CONVERTED)
def test_weights_stay_among_their_values_under_every_rule(case, rule):
    model, made = machine(case, biases=True)
    stepped(case, model, rule)
    for reel in made.reels:
        reel.option()  # raises where a weight is none of its values
    assert any(reel.scores.tensor.any() for reel in made.reels)


@pairs([case for case in few if case in CONVERTED])
def test_the_rule_teaches_scores_what_it_teaches_free_weights(case, rule):
    model, made = machine(case, biases=True)
    free = case.fresh()
    free.load_state_dict(model.state_dict())
    found = []
    for net in (model, free):
        attach(case, net, rule)
        torch.default_generator.manual_seed(5)  # of dropout and of noise
        found.append(gradients(case, net, case.batch()))
    assert_same(*found)
    optimizer = slots.drive(torch.optim.SGD(learned(model).values(), 0.5), model)
    optimizer.step()
    for reel in made.reels:
        taught_by = found[1][reel.name]
        expected = torch.zeros_like(reel.parameter) if taught_by is None else -0.5 * taught_by
        torch.testing.assert_close(reel.scores.tensor, expected, rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["dgl", "drtp", "frozen"])
def test_blocks_that_learn_within_the_forward_pass(rule):
    case, found = CASE["mlp"], []
    for immediate in (False, True):
        model, made = machine(case)
        handle = attach(case, model, rule)
        optimizer = slots.drive(torch.optim.SGD(learned(model).values(), 0.5, 0.9), model)
        handle.follow(bp.Immediate(optimizer) if immediate else None)
        for _ in range(3):
            optimizer.zero_grad()
            taught(case, model, case.batch()).backward()
            optimizer.step()
        found.append([reel.parameter.clone() for reel in made.reels])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_autocast_and_accumulated_gradients():
    case = CASE["mlp"]
    model, made = machine(case)
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), 0.5), model)
    with torch.autocast("cpu", torch.bfloat16):
        taught(case, model, case.batch()).backward()
        taught(case, model, case.batch(2)).backward()
    total = [reel.parameter.grad.clone() for reel in made.reels]
    optimizer.step()
    for reel, gradient in zip(made.reels, total, strict=True):
        assert reel.parameter.dtype is torch.float32
        torch.testing.assert_close(reel.scores.tensor, -0.5 * gradient, rtol=0, atol=0)
