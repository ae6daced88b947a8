"""`functional_call` with other parameters is a model that has these parameters."""

import torch
from torch.func import functional_call

import beyondprop as bp
from tests.contract.teaching import CLOSE, assert_same, attached, every, gradients, loss_of


@every
def test_other_parameters(case, rule):
    model, handle = attached(case, rule)
    batch = case.batch()
    generator = torch.Generator().manual_seed(7)
    own = dict(model.named_parameters())
    others = {
        n: (p + 0.1 * torch.randn(p.shape, generator=generator)).detach().requires_grad_()
        for n, p in model.named_parameters()
    }
    with handle.targets(case.classes()):
        outputs = functional_call(model, others, batch.inputs, batch.keywords)
        loss_of(case, outputs).backward()
    assert all(p.grad is None for p in own.values())

    twin, _ = attached(case, rule)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(others[name])
            parameter.requires_grad_(others[name].requires_grad)
    expected = gradients(case, twin, batch)
    named = {n: p.grad for n, p in others.items()}
    assert_same(named, {n: expected[n] for n in named}, **CLOSE)
    assert bp.attachment_of(model) is handle
