"""Mixed precision: what is computed in bfloat16 teaches float32 weights, with scaled losses too."""

import pytest
import torch

import beyondprop as bp
from beyondprop.rules import LossRule
from tests.contract.teaching import (
    assert_same,
    attached,
    clear,
    every,
    found,
    learned,
    taken,
    times,
)
from tests.modules import CASE

SCALE = 2.0**10
"""A power of two, as gradient scalers use: it changes no digit of a gradient."""


def passed(case, model, scale=1.0):
    """Return the gradients of one pass in bfloat16, with the loss scaled behind `handle.loss`."""
    clear(model)
    handle = bp.attachment_of(model)
    batch = case.batch()
    with torch.autocast("cpu", dtype=torch.bfloat16), handle.targets(case.classes()):
        outputs = case.logits(model(*batch.inputs, **batch.keywords))
        losses = [
            torch.nn.functional.cross_entropy(o.float().flatten(0, -2), case.classes().flatten())
            for o in outputs
        ]
    (handle.loss(torch.stack(losses).sum()) * scale).backward()
    return found(model)


@every
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # of a plain RMSNorm
def test_losses_may_be_scaled(case, rule):
    model, _ = attached(case, rule)
    model.eval()  # two passes, between which nothing may change
    once = passed(case, model)
    assert all(g.dtype is learned(model)[n].dtype for n, g in once.items() if g is not None)
    assert all(g.isfinite().all() for g in once.values() if g is not None)
    scaled = times(passed(case, model, SCALE), 1 / SCALE)
    assert_same(scaled, once, atol=1e-30)


def test_rules_that_say_their_signal_does_not_grow_with_the_loss():
    local = {name for name, rule in bp.rules.RULES.items() if isinstance(rule, LossRule)}
    apart = {name for name, rule in bp.rules.RULES.items() if not rule.traits.scales_with_loss}
    assert apart == {"drtp", "ebd", "pepita", "pc", "epc", "dtp", "dualprop", *local}


@pytest.mark.parametrize("name", ["mlp", "convnet", "residual"])
def test_scaled_losses_move_correlations_as_far(name):
    """In training, error broadcast follows the error as it was before the loss was scaled."""
    moves = []
    for scale in (1.0, SCALE):
        model, handle = attached(CASE[name], "ebd")
        passed_in_eval(CASE[name], model)  # makes the correlations
        before = handle.state_dict()
        passed(CASE[name], model, scale)
        after = handle.state_dict()
        forgetting = handle.blocks[0].rule.forgetting
        moves.append([after[n] - forgetting * before[n] for n in after if n.endswith("feedback")])
    torch.testing.assert_close(moves[1], moves[0], rtol=1e-2, atol=1e-5)


def passed_in_eval(case, model):
    model.eval()
    passed(case, model)
    model.train()


@pytest.mark.parametrize("rule", ["kp", "dkp", "wm", "ebd", "dtp"])
@pytest.mark.parametrize("name", ["mlp", "convnet", "transformer-layer"])
def test_learned_feedback_stays_in_full_precision(name, rule):
    case = CASE[name]
    if not taken(case, rule):
        return
    model, handle = attached(case, rule)
    for _ in range(2):
        passed(case, model)
    floats = [t for t in handle.state_dict().values() if t.is_floating_point()]
    assert floats
    assert all(t.dtype is torch.float32 and t.isfinite().all() for t in floats)
