"""On a GPU every rule teaches what it teaches on the CPU."""

from dataclasses import fields, replace

import pytest
import torch

import beyondprop as bp
from beyondprop.projections import Redrawn
from tests.contract.teaching import found, learned, loss_of, pairs, rule_of
from tests.modules import CASE

DEVICE = "cuda"

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here"
)


def promised(name):
    """Return a rule whose random numbers are promised to be the same on all devices."""
    rule = rule_of(name)
    drawn = [f.name for f in fields(rule) if isinstance(getattr(rule, f.name), Redrawn)]
    return replace(rule, **{each: bp.Dense() for each in drawn})


def trained(case, rule, device):
    """Take two steps; return the gradients of the second."""
    model = case.fresh().to(device)
    handle = bp.attach(model, rule)
    optimizer = torch.optim.SGD(learned(model).values(), 0.1)
    for step in range(2):
        optimizer.zero_grad()
        (x,), _ = case.batch(step)
        with handle.targets(case.classes().to(device)):
            (logits,) = case.logits(model(x.to(device)))
        loss_of(case, logits.cpu()).backward()
        optimizer.step()
    return {n: None if g is None else g.cpu() for n, g in found(model).items()}


@pairs([CASE["mlp"], CASE["convnet"]])
def test_gradients_are_those_of_the_cpu(case, rule, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    expected = trained(case, promised(rule), "cpu")
    gave = trained(case, promised(rule), DEVICE)
    torch.testing.assert_close(gave, expected, rtol=1e-3, atol=1e-5)
