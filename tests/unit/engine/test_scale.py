"""Losses that the caller scales, under rules whose signals do not follow the loss's gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp

DEAF = [n for n, rule in bp.rules.RULES.items() if not rule.traits.scales_with_loss]
CHAINS = [n for n in bp.rules.RULES if n != "ff"]
PAIRS = ("scff", "sim", "predsim", "softhebb")  # they compare samples, or divide by the largest
DRAWN = ("lfg", "fg")  # another direction for each pass
X, Y = torch.linspace(-1, 1, 48, dtype=torch.float64).view(8, 6), torch.arange(8) % 3


def attached(rule):
    torch.manual_seed(1)
    parts = nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)
    model = nn.Sequential(*parts).double().eval()
    return model, bp.attach(model, bp.rules.make(rule))


def loss_of(model, handle, x=X, y=Y):
    with handle.targets(y):
        return F.cross_entropy(model(x), y)


def gradients(model, handle):
    return [p.grad for p in (*model.parameters(), *handle.parameters())]


@pytest.mark.parametrize("rule", [n for n in CHAINS if n not in (*PAIRS, *DRAWN)])
def test_accumulated_gradients_are_those_of_one_batch(rule):
    found = []
    for parts in (1, 4):
        model, handle = attached(rule)
        for x, y in zip(X.chunk(parts), Y.chunk(parts), strict=True):
            (handle.loss(loss_of(model, handle, x, y)) / parts).backward()
        found.append(gradients(model, handle))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("scale", [0.0, 0.3, -2.0, 2.0**16])
@pytest.mark.parametrize("rule", CHAINS)
def test_all_gradients_are_scaled_as_the_loss_is(rule, scale):
    found = []
    for factor in (1.0, scale):
        torch.manual_seed(0)
        model, handle = attached(rule)
        (handle.loss(loss_of(model, handle)) * factor).backward()
        found.append(gradients(model, handle))
    expected = [None if g is None else g * scale for g in found[0]]
    torch.testing.assert_close(found[1], expected)


@pytest.mark.parametrize("rule", [n for n in DEAF if n != "ff"])
def test_gradients_that_are_there_already_are_told(rule):
    model, handle = attached(rule)
    loss_of(model, handle).backward()
    with pytest.raises(bp.UserError, match=r"handle\.loss\(loss\)"):
        loss_of(model, handle).backward()
    model.zero_grad(set_to_none=False)
    loss_of(model, handle).backward()


@pytest.mark.parametrize("rule", ["drtp", "dgl", "pepita"])
def test_a_scaler_is_told(rule):
    scaler = torch.amp.GradScaler("cpu")
    model, handle = attached(rule)
    loss = scaler.scale(loss_of(model, handle))
    with pytest.raises(bp.UserError, match="GradScaler"):
        loss.backward()
    del scaler


@pytest.mark.parametrize("rule", ["drtp", "dgl", "pepita", "dfa"])
def test_a_scaler_behind_the_loss_changes_nothing(rule):
    found = []
    for enabled in (False, True):
        model, handle = attached(rule)
        scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        scaler.scale(handle.loss(loss_of(model, handle))).backward()
        scaler.step(optimizer)
        found.append([p.detach() for p in model.parameters()])
    torch.testing.assert_close(*found)


def test_rules_that_follow_the_gradient_need_nothing():
    model, handle = attached("dfa")
    loss = loss_of(model, handle)
    assert handle.loss(loss) is loss


def test_nothing_is_told_where_nothing_was_taught():
    model, handle = attached("dgl")
    with bp.exact_gradients(model):
        loss = handle.loss(F.cross_entropy(model(X), Y))
    (2 * loss).backward()
    taught = [p.grad for p in model.parameters()]
    model.zero_grad()
    handle.remove()
    F.cross_entropy(model(X), Y).backward()
    torch.testing.assert_close(taught, [2 * p.grad for p in model.parameters()])


def test_a_told_loss_may_be_changed_in_place():
    model, handle = attached("dgl")
    handle.loss(loss_of(model, handle)).backward()
    once = gradients(model, handle)
    model, handle = attached("dgl")
    loss = handle.loss(loss_of(model, handle))
    loss *= 4
    loss.backward()
    torch.testing.assert_close(gradients(model, handle), [4 * g for g in once])


@pytest.mark.parametrize("rule", ["drtp", "dgl", "sim"])
def test_a_model_before_another_hears_the_scale(rule):
    found = []
    for scale in (1.0, 3.0):
        first, handle = attached(rule)
        torch.manual_seed(2)
        second = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        bp.attach(second, bp.DirectFeedbackAlignment())
        with handle.targets(Y):
            loss = handle.loss(F.cross_entropy(second(first(X)), Y))
        (loss * scale).backward()
        found.append([g / scale for g in gradients(first, handle)])
    torch.testing.assert_close(*found)


def test_a_loss_may_be_told_twice():
    found = []
    for times in (1, 2):
        model, handle = attached("dgl")
        loss = loss_of(model, handle)
        for _ in range(times):
            loss = handle.loss(loss)
        (2 * loss).backward()
        found.append(gradients(model, handle))
    torch.testing.assert_close(*found)


def test_one_number_is_told():
    model, handle = attached("dgl")
    with handle.targets(Y), pytest.raises(bp.UserError, match="takes a scalar"):
        handle.loss(model(X))


def test_two_told_losses_of_one_pass_are_refused():
    model, handle = attached("dgl")
    with handle.targets(Y):
        output = model(X)
    first, second = handle.loss(output.sum()), handle.loss(output.square().sum())
    with pytest.raises(bp.UserError, match="weighted sum"):
        (first + 0.1 * second).backward()


def test_hooks_and_large_blocks_hear_the_scale_too():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 300), nn.Linear(300, 3)

        def forward(self, x):
            """(batch, 6) -> (batch, 3)."""
            return self.last(torch.tanh(self.first(x)))

    x, y = torch.randn(256, 6), torch.randint(3, (256,))
    for rule in ("drtp", "dgl", "ebd"):
        found = []
        for scale in (1.0, 4.0):
            torch.manual_seed(0)
            model = Net().eval()
            handle = bp.attach(model, bp.rules.make(rule), ["first", "last"])
            with handle.targets(y):
                loss = F.cross_entropy(model(x), y)
            (handle.loss(loss) * scale).backward()
            found.append([p.grad / scale for p in model.parameters()])
        torch.testing.assert_close(*found)


def test_blocks_that_learn_later_follow_the_scale_too():
    found = []
    for scale in (1.0, 4.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).requires_grad_(
            requires_grad=False
        )
        handle = bp.attach(model, bp.DirectRandomTargetProjection())
        model.requires_grad_()
        y = torch.arange(6) % 3
        with handle.targets(y):
            loss = F.cross_entropy(model(torch.ones(6, 4)), y)
        (handle.loss(loss) * scale).backward()
        found.append(model[0].weight.grad)
    torch.testing.assert_close(found[1], 4 * found[0])
