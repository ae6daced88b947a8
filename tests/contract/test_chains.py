"""A chain is taught in several ways, for speed; which one is used changes no gradient."""

import pytest
from torch import nn

from beyondprop.engine.fast import chain
from beyondprop.rules import RULES
from tests import internals
from tests.contract.teaching import (
    CLOSE,
    assert_same,
    attached,
    gradients,
    pairs,
    taught,
)
from tests.modules import CASES

CHAINS = [case for case in CASES if case.blocks is None]
CUTS = [name for name, rule in RULES.items() if rule.traits.ends_graph]
chains = pairs(CHAINS, CUTS)


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch):
    """Take no chain as one operation, unless a test says so."""
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", 0)


@chains
def test_small_and_large_blocks_are_taught_the_same(case, rule, monkeypatch):
    small = gradients(case, attached(case, rule)[0], case.batch())
    monkeypatch.setattr(internals.SETTINGS, "node_above", 0)
    assert_same(gradients(case, attached(case, rule)[0], case.batch()), small)


@chains
def test_a_chain_is_taught_the_same_by_hooks(case, rule, monkeypatch):
    model, _ = attached(case, rule)
    assert type(model) is chain.TaughtSequential or len(list(model.children())) == 1
    by_itself = gradients(case, model, case.batch())
    monkeypatch.setattr(internals.forms, "_FORMS", [])
    hooked, _ = attached(case, rule)
    assert type(hooked) is nn.Sequential
    assert_same(gradients(case, hooked, case.batch()), by_itself)


@chains
def test_a_fused_chain_is_taught_the_same(case, rule, monkeypatch):
    expected = gradients(case, attached(case, rule)[0], case.batch())
    monkeypatch.undo()
    model, _ = attached(case, rule)
    assert_same(gradients(case, model, case.batch()), expected, **CLOSE)
    if case.name in ("mlp", "equal-widths", "frozen-part") and rule in ("dfa", "drtp"):
        assert internals.fused(model) is not None
        assert fused_in(taught(case, model, case.batch()))


def fused_in(loss):
    """Whether the loss's graph contains a fused chain."""
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
    return any("FusedChain" in type(node).__name__ for node in seen)
