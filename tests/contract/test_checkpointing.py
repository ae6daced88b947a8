"""Checkpointing computes a forward pass again in the backward pass, and must teach the same."""

import copy

import pytest
from torch.utils.checkpoint import checkpoint

import beyondprop as bp
from tests import internals
from tests.contract.teaching import (
    RULES,
    assert_same,
    attached,
    clear,
    every,
    found,
    gradients,
    loss_of,
    pairs,
    taught,
)
from tests.modules import CASE

PACED = [name for name in RULES if name in ("brsf", "wm", "fg", "lfg")]
"""Rules whose feedback or random directions change with every pass in training mode."""


def checkpointed(case, model):
    """Return the gradients of one pass of a model that is checkpointed as a whole."""
    clear(model)
    batch, handle = case.batch(), bp.attachment_of(model)
    with handle.targets(case.classes()):
        outputs = checkpoint(model, *batch.inputs, use_reentrant=False, **batch.keywords)
        loss_of(case, outputs).backward()
    assert internals.open_pass(handle) is None
    return found(model)


@every
def test_a_model_checkpointed_as_a_whole(case, rule):
    model, _ = attached(case, rule)
    twin = copy.deepcopy(model)
    if rule in PACED or case is CASE["spectral_norm"]:  # which iterates in every forward pass
        model.eval()
        twin.eval()
    assert_same(checkpointed(case, twin), gradients(case, model, case.batch()))


@pytest.mark.parametrize("rule", PACED)
def test_computed_again_counts_as_a_pass(rule):
    case = CASE["mlp"]
    model, handle = attached(case, rule)
    checkpointed(case, model)
    assert internals.passes(handle) == 2


@pairs([CASE[n] for n in ("residual", "unet", "decoder-across-blocks", "reuse", "siamese")])
def test_blocks_checkpointed_inside_a_model(case, rule):
    model, handle = attached(case, rule)
    expected = gradients(case, model, case.batch())
    model, handle = attached(case, rule)
    block = handle.blocks[0].modules[-1][1]
    forward = block.forward
    block.forward = lambda *args: checkpoint(forward, *args, use_reentrant=False)
    taught(case, model, case.batch()).backward()
    assert_same(found(model), expected)
