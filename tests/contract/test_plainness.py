"""Attaching changes the gradients and nothing else, and can be undone."""

import torch

import beyondprop as bp
from tests import internals
from tests.contract.teaching import (
    RULES,
    assert_same,
    attach,
    attached,
    every,
    gradients,
    learned,
    pairs,
    plain_gradients,
)
from tests.modules import CASE

DETACHED = CASE["detached-part"]

LAST_BIT = {"rtol": 1e-5, "atol": 1e-7}
"""Spectral norms come of products of vectors, whose last bit may differ with where these lie."""


def tolerance(case):
    """Return what gradients may differ by from those of the plain model: nothing, as a rule."""
    return LAST_BIT if case is CASE["spectral_norm"] else {}


@every
def test_forward_and_state_dict_stay_the_same(case, rule):
    plain = case.fresh()
    model, handle = attached(case, rule)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in plain.named_parameters()]
    batch = case.batch()
    expected = case.logits(plain(*batch.inputs, **batch.keywords))
    with handle.targets(case.classes()):
        found = case.logits(model(*batch.inputs, **batch.keywords))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(dict(model.named_buffers()), dict(plain.named_buffers()))
    plain.load_state_dict(model.state_dict())
    before = handle.state_dict()
    with torch.no_grad():
        assert not any(t.requires_grad for t in case.logits(model(*batch.inputs, **batch.keywords)))
    assert internals.open_pass(handle) is None
    torch.testing.assert_close(handle.state_dict(), before, rtol=0, atol=0)


@every
def test_exact_gradients_and_remove_give_the_plain_model(case, rule):
    model = case.fresh()
    before = [(type(m), set(vars(m))) for m in model.modules()]
    begun = {n: b.clone() for n, b in model.named_buffers()}
    handle = attach(case, model, rule)
    with bp.exact_gradients(model):
        gave = gradients(case, model, case.batch())
    assert all(gave.pop(n) is None for n in learned(model) if n.startswith("feedback"))
    assert_same(gave, plain_gradients(case), **tolerance(case))

    handle.remove()
    handle.remove()
    assert [(type(m), set(vars(m))) for m in model.modules()] == before
    assert bp.attachment_of(model) is None
    model.load_state_dict(begun, strict=False)
    assert_same(gradients(case, model, case.batch()), plain_gradients(case), **tolerance(case))


@pairs(rules=["backprop"])
def test_backprop_is_plain_autograd(case, rule):
    model, _ = attached(case, rule)
    assert_same(gradients(case, model, case.batch()), plain_gradients(case))


@pairs(rules=["frozen"])
def test_frozen_teaches_the_output_block_alone(case, rule):
    model, handle = attached(case, rule)
    gradients(case, model, case.batch())
    taught = [block for block in handle.blocks if type(block.rule).__name__ != "Frozen"]
    hidden = [p for block in handle.blocks if block not in taught for _, p in block.parameters()]
    assert all(p.grad is None for p in hidden)
    assert any(p.grad is not None for _, p in taught[-1].parameters())


@pairs(rules=[rule for rule in RULES if rule not in ("backprop", "frozen")])
def test_all_learns_that_backprop_teaches_but_by_other_gradients(case, rule):
    model, handle = attached(case, rule)
    gave, plain = gradients(case, model, case.batch()), plain_gradients(case)
    differs = [n for n, g in plain.items() if not same(g, gave[n])]
    assert bool(differs) == others_learn(handle, rule)
    # A direct rule also teaches a block whose output the model itself detaches.
    beyond = [n for n in plain if plain[n] is None and gave[n] is not None]
    direct = bp.rules.RULES[rule].traits.ends_graph
    if rule == "fg":  # a random direction has all parameters, used or not
        assert all(gave[n] is not None for n, p in model.named_parameters() if p.requires_grad)
    else:
        there = ["fixed.weight", "fixed.bias"] if direct and case is DETACHED else []
        assert beyond == there
    assert all(gave[n] is not None for n, g in plain.items() if g is not None)
    if handle.blocks[-1].rule.name == "backprop":
        last = {id(p) for _, p in handle.blocks[-1].parameters()}
        assert not {n for n, p in model.named_parameters() if id(p) in last} & set(differs)


def others_learn(handle, rule):
    """Return whether any block learns by another gradient than the exact one."""
    if (
        "sent_back" in bp.rules.RULES[rule].traits.needs
    ):  # the block before the last hears the exact gradient
        hidden = [block.parameters() for block in handle.blocks[:-2]]
        return any(p.requires_grad for own in hidden for _, p in own)
    return len(handle.blocks) > 1 or rule in ("fg", "pepita", "pc", "epc")


def same(a, b):
    return a is b or (a is not None and b is not None and torch.equal(a, b))
