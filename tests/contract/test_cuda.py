"""On a GPU every rule teaches what it teaches on the CPU."""

import pytest
import torch

import beyondprop as bp
from tests.contract.teaching import attach, clear, found, gradients, loss_of, pairs
from tests.modules import CASE

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here"
)

# What draws anew in every pass draws other numbers on another device (see `Redrawn`).
REDRAWN = ("brsf", "wm")


@pairs([CASE["mlp"], CASE["convnet"]])
def test_gradients_are_those_of_the_cpu(case, rule):
    here, there = case.fresh(), case.fresh().cuda()
    attach(case, here, rule)
    handle = attach(case, there, rule)
    if rule in REDRAWN:
        here.eval()
        there.eval()
    (x,), _ = case.batch()
    expected = gradients(case, here, case.batch())
    for _ in range(2):
        clear(there)
        with handle.targets(case.classes().cuda()):
            outputs = [o.cpu() for o in case.logits(there(x.cuda()))]
            loss_of(case, outputs[0]).backward()
        if rule != "ebd":
            break
        break
    gave = {n: None if g is None else g.cpu() for n, g in found(there).items()}
    assert gave.keys() == expected.keys()
    torch.testing.assert_close(gave, expected, rtol=1e-3, atol=1e-4)
    assert bp.attachment_of(there) is handle
