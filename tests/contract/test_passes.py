"""Several forward and backward passes, in any order that plain autograd allows."""

import pytest
import torch
from torch.nn.parameter import is_lazy

import beyondprop as bp
from tests import internals
from tests.contract.teaching import (
    CLOSE,
    RULES,
    assert_same,
    attached,
    clear,
    every,
    found,
    gradients,
    learned,
    pairs,
    plus,
    taken,
    taught,
    times,
)
from tests.modules import CASE


@every
def test_gradients_accumulate(case, rule):
    model, handle = attached(case, rule)
    model.eval()  # batch statistics would couple the two batches, and learned feedback moves
    a, b = case.batch(1), case.batch(2)
    both = plus(gradients(case, model, a), gradients(case, model, b))
    clear(model)
    handle.loss(taught(case, model, a)).backward()
    handle.loss(taught(case, model, b)).backward()
    assert_same(found(model), both, **CLOSE)
    clear(model)
    first, second = taught(case, model, a), taught(case, model, b)  # two passes, one backward
    (handle.loss(first) + handle.loss(second)).backward()
    assert_same(found(model), both, **CLOSE)


@every
def test_backward_twice_through_one_graph(case, rule):
    model, handle = attached(case, rule)
    if rule == "ebd":
        model.eval()  # what follows correlations follows them in every backward pass
    loss = handle.loss(taught(case, model, case.batch()))
    loss.backward(retain_graph=True)
    once = found(model)
    loss.backward()
    assert_same(found(model), times(once, 2), **CLOSE)


@every
def test_autograd_grad_of_some_parameters(case, rule):
    model, _ = attached(case, rule)
    if rule == "ebd":
        model.eval()  # see above
    full = gradients(case, model, case.batch())
    if rule != "ebd":  # quantities drawn or measured again in every pass start as above
        model, _ = attached(case, rule)
    clear(model)
    loss = taught(case, model, case.batch())
    named = {n: p for n, p in learned(model).items() if p.requires_grad and not is_lazy(p)}
    for name in (next(iter(named)), list(named)[-1]):
        (gradient,) = torch.autograd.grad(loss, [named[name]], allow_unused=True, retain_graph=True)
        assert_same({name: gradient}, {name: full[name]}, **CLOSE)
    assert all(p.grad is None for p in named.values())


@pytest.mark.parametrize("rule", [name for name in RULES if taken(CASE["mlp"], name)])
@pytest.mark.parametrize(
    ("small", "fused"),
    [(0, 0), (internals.NODE_ABOVE, 0), (0, internals.FUSED_UP_TO)],
    ids=["large", "small", "fused"],
)
def test_input_gradient_goes_through_the_first_blocks_signal(rule, small, fused, monkeypatch):
    monkeypatch.setattr(internals.SETTINGS, "node_above", small)
    monkeypatch.setattr(internals.SETTINGS, "fused_up_to", fused)
    case = CASE["mlp"]
    model, handle = attached(case, rule)
    (x,), _ = batch = case.batch()
    x.requires_grad_()
    if bp.rules.RULES[rule].traits.whole_model:
        with pytest.raises(bp.UserError, match="computes no gradient for the model's input"):
            taught(case, model, batch)
        return
    taught(case, model, batch).backward()
    if rule in ("frozen", "scff", "softhebb"):  # nothing is taught, or not by an error here
        assert x.grad is None or not x.grad.any()
        return
    first = handle.blocks[0].modules[0][1]
    # For a linear layer ∂L/∂x = δ W and ∂L/∂b = Σ δ, so the two agree summed over the batch.
    matrix = first.weight.detach()
    if isinstance(handle.blocks[0].rule, bp.rules.LayerRule):
        matrix = internals.feedback(first, matrix).detach()
    torch.testing.assert_close(x.grad.sum(0), first.bias.grad @ matrix)


@pairs([CASE["mlp"], CASE["convnet"]])
def test_an_empty_batch_teaches_nothing(case, rule):
    model, handle = attached(case, rule)
    before = [parameter.clone() for parameter in model.parameters()]
    with handle.targets(case.classes()[:0]):
        outputs = model(*(x[:0] for x in case.batch().inputs))
    outputs.sum().backward()
    torch.optim.SGD([*model.parameters(), *handle.parameters()], lr=1.0).step()
    assert all(map(torch.equal, before, model.parameters()))


def broken_inputs(case, number):
    bad = case.batch()
    first, *others = bad.inputs
    return bad._replace(inputs=(torch.full_like(first, number), *others))


@pairs([CASE["mlp"]])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_batch_that_is_skipped_leaves_nothing_behind(case, rule, number):
    model, handle = attached(case, rule)
    found_bad = gradients(case, model, broken_inputs(case, number))
    assert not all(g is None or g.isfinite().all() for g in found_bad.values())  # a scaler sees it
    clear(model)
    assert all(
        is_lazy(t) or t.isfinite().all()
        for t in handle.state_dict().values()
        if t.is_floating_point()
    )
    after = gradients(case, model, case.batch())
    assert all(g is None or g.isfinite().all() for g in after.values())


@pairs([CASE["mlp"]])
def test_a_loss_that_overflows_when_scaled_leaves_nothing_behind(case, rule):
    model, handle = attached(case, rule)
    (handle.loss(taught(case, model, case.batch())) * float("inf")).backward()
    assert not all(g is None or g.isfinite().all() for g in found(model).values())
    clear(model)
    after = gradients(case, model, case.batch())
    assert all(g is None or g.isfinite().all() for g in after.values())
