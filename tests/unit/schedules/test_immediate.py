"""Blocks that learn inside the forward pass: the same as afterwards, and nothing is kept."""

import copy
import weakref
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp
from beyondprop.measure import (
    alignment,
    evaluate,
    isolation,
    linear_probe,
)
from beyondprop.measure.memory_child import tensor_growth
from beyondprop.schedules import immediate
from beyondprop.tasks import Split, accuracy
from tests import internals

RULES = [n for n, rule in bp.rules.RULES.items() if rule.traits.immediate and n != "backprop"]
LATE = [name for name, rule in bp.rules.RULES.items() if not rule.traits.immediate]
CLASSES = 4


def chain(affine=True):
    return nn.Sequential(
        nn.Linear(12, 9),
        nn.BatchNorm1d(9, affine=affine),
        nn.ReLU(inplace=True),
        nn.Linear(9, 8),
        nn.Dropout(0.3),
        nn.Tanh(),
        nn.Linear(8, CLASSES),
    )


def plain():
    """Return a chain that every rule takes."""
    return nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 4))


def by_goodness():
    hidden = [nn.Sequential(nn.Linear(12, 12), nn.ReLU()) for _ in range(3)]
    return bp.GoodnessNetwork(hidden, bp.FirstPixels(CLASSES))


def built(rule, seed=3):
    """Return a model with a rule attached, and an optimizer over all that learns."""
    torch.manual_seed(seed)
    model = by_goodness() if rule == "ff" else chain(affine=rule != "softhebb")
    handle = bp.attach(model, bp.rules.make(rule), ["blocks.*"] if rule == "ff" else None)
    learned = [*model.parameters(), *handle.parameters()]
    return handle, torch.optim.SGD(learned, 0.1, momentum=0.9, weight_decay=0.01)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 12, generator=generator), torch.arange(16) % CLASSES


def forward(handle, x, y):
    with handle.targets(y):
        return F.cross_entropy(handle.model(x), y)


def step(handle, optimizer, number=0):
    torch.manual_seed(number)  # of dropout
    optimizer.zero_grad()
    forward(handle, *batch(number)).backward()
    optimizer.step()


def state(handle):
    """Return all that a step may change, cloned."""
    found = {**handle.model.state_dict(), **handle.state_dict()}
    return {name: tensor.clone() for name, tensor in found.items()}


def changed(before, after):
    return {
        name for name in after if name not in before or not torch.equal(before[name], after[name])
    }


def hidden_names(handle):
    """Return the names of the parameters of the blocks that learn in the forward pass."""
    blocks = [block for block in handle.blocks if handle.taught(block) is not None]
    return {name for block in blocks for name, _ in block.parameters()}


def test_the_rules_that_can_are_these():
    expected = "drtp dgl sim predsim infopro ff scff softhebb lfg frozen"
    assert sorted(expected.split()) == sorted(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_it_learns_what_the_ordinary_loop_learns_to_the_last_bit(rule):
    handle, optimizer = built(rule)
    twin, other = built(rule)
    twin.follow(bp.Immediate(other))
    start = state(handle)
    for number in range(4):
        step(handle, optimizer, number)
        step(twin, other, number)
        torch.testing.assert_close(state(twin), state(handle), rtol=0, atol=0)
    moved = changed(start, state(handle)) & hidden_names(handle)
    # A bias before a batch norm gets rounding errors for a gradient.
    assert moved == (set() if rule == "frozen" else hidden_names(handle))


@pytest.mark.parametrize("rule", [name for name in RULES if name != "frozen"])
def test_blocks_have_learned_when_the_forward_pass_is_over(rule):
    handle, optimizer = built(rule)
    handle.follow(bp.Immediate(optimizer))
    before = state(handle)
    loss = forward(handle, *batch())
    moved = changed(before, state(handle)) & set(dict(handle.model.named_parameters()))
    assert moved == hidden_names(handle)
    assert all(p.grad is None for p in [*handle.model.parameters(), *handle.parameters()])
    middle = state(handle)
    loss.backward()
    optimizer.step()
    last = set() if rule == "ff" else {"6.weight", "6.bias"}
    assert changed(middle, state(handle)) == last


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("how", ["eval", "no_grad", "inference", "exact", "taken away"])
def test_nothing_learns_where_nothing_is_to_be_learned(rule, how):
    handle, optimizer = built(rule)
    handle.follow(bp.Immediate(optimizer))
    before = dict(handle.model.named_parameters())
    before = {name: p.detach().clone() for name, p in before.items()}
    if how == "eval":
        handle.model.eval()
        loss = forward(handle, *batch())
    elif how == "no_grad":
        with torch.no_grad():
            loss = forward(handle, *batch())
    elif how == "inference":
        with torch.inference_mode():
            loss = forward(handle, *batch())
    elif how == "exact":
        with bp.exact_gradients(handle.model):
            loss = forward(handle, *batch())
    else:
        handle.follow(None)
        loss = forward(handle, *batch())
    assert loss.requires_grad == (how in ("eval", "exact", "taken away"))
    after = dict(handle.model.named_parameters())
    assert not changed(before, after)
    if how == "exact":
        loss.backward()
        assert all(p.grad is not None for p in handle.model.parameters())
    elif how in ("eval", "taken away"):
        loss.backward()
        gradients = [p.grad for p in handle.blocks[0].owner.parameters()]
        assert any(g is not None for g in gradients)


def measure_accuracy(handle, x, y):
    evaluate(handle.model, Split(x, y), F.cross_entropy, accuracy, batch_size=8)


def measure_alignment(handle, x, y):
    assert alignment(handle, x, y, F.cross_entropy).keys() == {b.name for b in handle.blocks}


def measure_isolation(handle, x, y):
    assert isolation(handle, x, y).isolated


def measure_probe(handle, x, y):
    linear_probe(handle, Split(x, y), Split(x, y), batch_size=8)


MEASURES = [measure_accuracy, measure_alignment, measure_isolation, measure_probe]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("measure", MEASURES)
def test_measures_leave_weights_and_optimizer_as_they_are(rule, measure):
    handle, optimizer = built(rule)
    schedule = bp.Immediate(optimizer)
    handle.follow(schedule)
    step(handle, optimizer)
    before, moments = state(handle), copy.deepcopy(optimizer.state_dict())
    measure(handle, *batch(1))
    torch.testing.assert_close(state(handle), before, rtol=0, atol=0)
    torch.testing.assert_close(optimizer.state_dict(), moments, rtol=0, atol=0)
    assert handle.schedule is schedule
    forward(handle, *batch(1))  # and it goes on
    assert hidden_names(handle) & changed(before, state(handle)) == (
        set() if rule == "frozen" else hidden_names(handle)
    )


def test_measures_find_the_same_with_and_without_a_schedule():
    handle, optimizer = built("predsim")
    expected = alignment(handle, *batch(), F.cross_entropy)
    handle.follow(bp.Immediate(optimizer))
    assert alignment(handle, *batch(), F.cross_entropy) == expected
    assert any(value not in (None, 1.0) for value in expected.values())


def test_gradients_that_the_caller_gathers_are_neither_stepped_nor_cleared():
    handle, optimizer = built("predsim")
    handle.follow(bp.Immediate(optimizer))
    last, first = handle.model[6].weight, handle.model[0].weight
    kept = first.grad = torch.full_like(first, 1e3)
    before = state(handle)
    forward(handle, *batch(0)).backward()
    one = last.grad.clone()
    forward(handle, *batch(1)).backward()
    assert first.grad is kept
    assert (kept == 1e3).all()
    assert (first - before["0.weight"]).abs().max() < 1  # a step along these would have shown
    assert torch.equal(last, before["6.weight"])
    assert not torch.equal(last.grad, one)  # two batches' are in there
    assert one.any()


def test_gathered_gradients_survive_a_step_that_fails():
    handle, optimizer = built("dgl")

    class Breaking(torch.optim.SGD):
        def step(self):
            raise ZeroDivisionError

    handle.follow(bp.Immediate(Breaking([*handle.model.parameters(), *handle.parameters()])))
    kept = handle.model[6].weight.grad = torch.ones(CLASSES, 8)
    with pytest.raises(ZeroDivisionError):
        forward(handle, *batch())
    assert handle.model[6].weight.grad is kept
    assert handle.model[0].weight.grad is None
    assert internals.open_pass(handle) is None
    handle.follow(bp.Immediate(optimizer))
    step(handle, optimizer)


@pytest.mark.parametrize("rule", ["dgl", "sim", "predsim", "infopro"])
def test_heads_that_the_optimizer_does_not_hold_are_refused(rule):
    handle, _ = built(rule)
    optimizer = torch.optim.SGD(handle.model.parameters(), 0.1)
    handle.follow(bp.Immediate(optimizer))
    before = state(handle)
    with pytest.raises(bp.UserError, match=r"over \[\*model\.parameters\(\), \*handle"):
        forward(handle, *batch())
    assert not changed(before, dict(handle.model.named_parameters()))


def test_the_heads_of_another_attachment_are_checked_anew():
    handle, optimizer = built("dgl")
    schedule = bp.Immediate(optimizer)
    handle.follow(schedule)
    step(handle, optimizer)
    handle.remove()
    again = bp.attach(handle.model, bp.LocalLoss(bp.CrossEntropy()))
    again.follow(schedule)
    with pytest.raises(bp.UserError, match="the optimizer lacks parameters of a block"):
        forward(again, *batch())


@pytest.mark.parametrize("rule", LATE)
def test_rules_that_need_the_models_output_are_refused(rule):
    handle = bp.attach(plain(), bp.rules.make(rule))
    optimizer = torch.optim.SGD(handle.model.parameters(), 0.1)
    called = type(bp.rules.RULES[rule]).__name__
    with pytest.raises(
        bp.UserError, match=f"^{called} cannot train a block during the forward pass"
    ):
        handle.follow(bp.Immediate(optimizer))
    assert handle.schedule is None


def test_all_rules_that_cannot_are_named():
    rules = {"0": bp.KolenPollack(), "3": bp.DirectFeedbackAlignment(), "*": bp.LocalLoss()}
    handle = bp.attach(chain(), rules)
    optimizer = torch.optim.SGD(handle.model.parameters(), 0.1)
    with pytest.raises(bp.UserError, match=r"^DirectFeedbackAlignment, KolenPollack cannot train"):
        handle.follow(bp.Immediate(optimizer))


def test_several_processes_are_refused(monkeypatch):
    handle, optimizer = built("frozen")
    handle.follow(bp.Immediate(optimizer))
    monkeypatch.setattr(immediate, "processes", lambda: 2)
    with pytest.raises(bp.UserError, match="the processes would silently drift apart"):
        forward(handle, *batch())
    assert internals.open_pass(handle) is None
    with torch.no_grad():
        forward(handle, *batch())


def test_forward_forward_needs_no_loss_of_the_users_and_bears_one():
    handle, optimizer = built("ff")
    handle.follow(bp.Immediate(optimizer))
    with handle.targets(batch()[1]):
        output = handle.model(batch()[0])
    before = state(handle)
    assert output.requires_grad
    output.sum().backward()
    assert not changed(before, state(handle))
    assert all(p.grad is None for p in handle.model.parameters())


def test_a_frozen_output_layer_leaves_a_loss_that_can_go_backward():
    handle, optimizer = built("predsim")
    handle.model[6].requires_grad_(False)
    handle.follow(bp.Immediate(optimizer))
    before = state(handle)
    step(handle, optimizer)
    assert {"0.weight", "3.weight"} <= changed(before, state(handle))
    assert not {"6.weight", "6.bias"} & changed(before, state(handle))


def test_a_block_with_the_exact_gradient_learns_with_the_next_one():
    handles = []
    for _ in range(2):
        torch.manual_seed(3)
        rules = {"0": bp.Backprop(), "3": bp.LocalLoss(), "6": bp.LocalLoss()}
        handles.append(bp.attach(chain(), rules))
    optimizers = [
        torch.optim.SGD([*h.model.parameters(), *h.parameters()], 0.1, momentum=0.9)
        for h in handles
    ]
    handles[1].follow(bp.Immediate(optimizers[1]))
    for number in range(3):
        for handle, optimizer in zip(handles, optimizers, strict=True):
            step(handle, optimizer, number)
        torch.testing.assert_close(state(handles[1]), state(handles[0]), rtol=0, atol=0)
    before = state(handles[1])
    forward(handles[1], *batch())
    assert {"0.weight", "3.weight"} <= changed(before, state(handles[1]))


def test_backprop_alone_learns_as_ever():
    handle, optimizer = built("backprop")
    twin, other = built("backprop")
    twin.follow(bp.Immediate(other))
    step(handle, optimizer)
    step(twin, other)
    torch.testing.assert_close(state(twin), state(handle), rtol=0, atol=0)


def test_learning_rates_may_change_from_batch_to_batch():
    handle, optimizer = built("predsim")
    twin, other = built("predsim")
    twin.follow(bp.Immediate(other))
    for number in range(3):
        for each in (optimizer, other):
            each.param_groups[0]["lr"] = 0.1 / (number + 1)
        step(handle, optimizer, number)
        step(twin, other, number)
    torch.testing.assert_close(state(twin), state(handle), rtol=0, atol=0)


def test_copies_learn_by_an_optimizer_of_their_own():
    handle, optimizer = built("predsim")
    handle.follow(bp.Immediate(optimizer))
    step(handle, optimizer)
    twin = bp.attachment_of(copy.deepcopy(handle.model))
    before, its = state(handle), state(twin)
    torch.manual_seed(0)
    forward(twin, *batch(1))
    assert not changed(before, state(handle))
    assert hidden_names(twin) <= changed(its, state(twin))
    torch.manual_seed(0)
    forward(handle, *batch(1))
    torch.testing.assert_close(state(twin), state(handle), rtol=0, atol=0)


class Unlinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, CLASSES))

    def forward(self, x):
        return x @ self.weight


def test_targets_are_projected_only_where_the_classes_can_be_counted():
    model = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), Unlinear())
    handle = bp.attach(model, bp.DirectRandomTargetProjection())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    handle.follow(bp.Immediate(optimizer))
    x, y = batch()
    before = state(handle)
    with pytest.raises(bp.UserError, match="give the targets one-hot, as floats"):
        forward(handle, x, y)
    assert not changed(before, state(handle))
    forward(handle, x, F.one_hot(y, CLASSES).float()).backward()
    taught = state(handle)
    model.load_state_dict({name: before[name] for name in model.state_dict()})
    handle.follow(None)
    optimizer.zero_grad()
    forward(handle, x, y).backward()
    expected = before["0.weight"] - 0.1 * model[0].weight.grad
    torch.testing.assert_close(taught["0.weight"], expected)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.heads = nn.Linear(12, 8), nn.ModuleList(nn.Linear(8, 4) for _ in "ab")

    def forward(self, x):
        x = torch.tanh(self.trunk(x))
        return [head(x) for head in self.heads]


def test_several_outputs_are_refused_by_rules_that_teach_by_one():
    model = Twice()
    handle = bp.attach(model, bp.DirectRandomTargetProjection(), ["trunk", "heads"])
    handle.follow(bp.Immediate(torch.optim.SGD(model.parameters(), 0.1)))
    x, y = batch()
    with handle.targets(y), pytest.raises(bp.UserError, match="supports one output only"):
        model(x)


class HeadFirst(nn.Module):
    """Defines its output layer before the block, so that the classes are counted wrong."""

    def __init__(self):
        super().__init__()
        self.head, self.trunk = nn.Linear(8, CLASSES), nn.Linear(12, 8)

    def forward(self, x):
        return self.head(torch.tanh(self.trunk(x)))


def test_classes_that_were_counted_wrong_are_reported():
    model = HeadFirst()
    handle = bp.attach(model, bp.DirectRandomTargetProjection(), ["trunk", "head"])
    handle.follow(bp.Immediate(torch.optim.SGD(model.parameters(), 0.1)))
    with pytest.raises(bp.UserError, match=r"shape \(16, 8\) do not fit .* \(16, 4\).*define the"):
        forward(handle, *batch())
    handle.follow(None)
    forward(handle, *batch()).backward()


class Token:
    """Lives as long as the graph that holds it."""


class Mark(torch.autograd.Function):
    """The identity, with a token in its node."""

    @staticmethod
    def forward(ctx, x, alive):
        ctx.token = Token()
        alive.append(weakref.ref(ctx.token))
        return x.clone()

    @staticmethod
    def backward(_ctx, gradient):
        return gradient, None


class Watched(nn.Module):
    """A block that counts which blocks' graphs and activations are alive when it begins."""

    def __init__(self, made, seen):
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.made, self.seen = made, seen

    def forward(self, x):
        graphs = [number for number, (graph, _) in enumerate(self.made) if graph() is not None]
        kept = [number for number, (_, inside) in enumerate(self.made) if inside() is not None]
        self.seen.append((graphs, kept))
        alive = []
        inside = Mark.apply(self.layer(x), alive)
        self.made.append((alive[0], weakref.ref(inside)))
        return torch.sin(inside)  # which needs it to go back


@pytest.mark.parametrize("rule", ["predsim", "drtp", "frozen", "scff"])
@pytest.mark.parametrize("plain", [True, False], ids=["chain", "hooks"])
def test_when_a_block_runs_nothing_of_the_blocks_before_it_is_alive(rule, plain):
    made, seen = [], []
    parts = [*(Watched(made, seen) for _ in range(5)), nn.Linear(6, CLASSES)]
    model = nn.Sequential(*parts) if plain else type("Own", (nn.Sequential,), {})(*parts)
    handle = bp.attach(model, bp.rules.make(rule))
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.1)
    x, y = torch.randn(8, 6), torch.arange(8) % CLASSES
    handle.follow(bp.Immediate(optimizer))
    with handle.targets(y):
        model(x)
    assert len(seen) == (10 if rule == "scff" else 5)  # pairs run in addition to the batch
    for graphs, kept in seen:
        # Of scff's two passes through a block, the batch's own still is there for the pairs'.
        assert len(graphs) <= (1 if rule == "scff" else 0)
        assert len(kept) <= (1 if rule == "scff" else 0)
    made.clear()
    seen.clear()
    handle.follow(None)
    with handle.targets(y):
        output = model(x)
    if rule != "frozen":
        graphs, kept = seen[-1]
        assert len(graphs) == len(kept) >= 4  # the ordinary loop keeps all: that this can fail
    del output


def deep(rule, schedule, depth):
    """Return a step of a network of so many blocks, as wide as it is deep in activations."""
    torch.manual_seed(0)
    hidden = [part for _ in range(depth) for part in (nn.Linear(32, 32), nn.Tanh())]
    model = nn.Sequential(*hidden, nn.Linear(32, CLASSES))
    handle = bp.attach(model, bp.rules.make(rule))
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.01)
    handle.follow(bp.Immediate(optimizer) if schedule else None)
    x, y = torch.randn(512, 32), torch.arange(512) % CLASSES

    def one():
        optimizer.zero_grad()
        forward(handle, x, y).backward()
        optimizer.step()

    one()  # makes the heads, and the matrices
    return one


@pytest.mark.parametrize("rule", ["dgl", "drtp", "scff"])
def test_memory_does_not_grow_with_depth(rule):
    peak = partial(tensor_growth, steps=1)
    shallow, much = peak(deep(rule, True, 4)), peak(deep(rule, True, 16))
    assert 0 < much <= 1.3 * shallow
    assert peak(deep(rule, False, 16)) > 2 * much  # the ordinary loop holds all activations


class Shared(nn.Module):
    """A stem before two blocks."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = (nn.Linear(12, 12) for _ in range(3))
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x):
        z = self.stem(x)
        return self.head(self.b(self.a(z) + z))


def test_a_part_before_several_blocks_would_step_for_each_and_is_refused():
    model = Shared()
    exact, local = bp.Backprop(), bp.LocalLoss(bp.CrossEntropy())
    handle = bp.attach(model, {"stem": exact, "a": local, "b": local, "head": exact})
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.1)
    handle.follow(bp.Immediate(optimizer))
    with pytest.raises(bp.UserError, match="comes before several blocks that learn during"):
        forward(handle, *batch())
    handle.follow(None)
    forward(handle, *batch()).backward()  # the ordinary loop adds up what both teach it


def test_a_block_that_runs_again_under_autocast_has_its_new_weights():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head = nn.Linear(12, 12), nn.Linear(12, CLASSES)

        def forward(self, x):
            return self.head(self.block(self.block(x)))

    model, ran = Twice(), []
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy()), ["block", "head"])
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 5.0)
    handle.follow(bp.Immediate(optimizer))

    def expect(module, inputs):
        weight, bias = module.weight.detach().clone(), module.bias.detach()
        now = F.linear(inputs[0].bfloat16(), weight.bfloat16(), bias.bfloat16())
        ran.append([now.detach(), weight])

    model.block.register_forward_pre_hook(expect)
    model.block.register_forward_hook(lambda *called: ran[-1].append(called[2].detach().clone()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        forward(handle, *batch())
    assert len(ran) == 2
    assert not torch.allclose(ran[0][1], ran[1][1])
    for expected, _, output in ran:
        torch.testing.assert_close(output, expected)


def test_an_optimizer_without_a_blocks_own_weights_is_refused():
    handle, _ = built("drtp")
    handle.remove()
    handle = bp.attach(handle.model, bp.LocalLoss(bp.CrossEntropy()))
    some = torch.optim.SGD([*handle.blocks[-1].modules[0][1].parameters(), *handle.parameters()])
    handle.follow(bp.Immediate(some))
    with pytest.raises(bp.UserError, match="the optimizer lacks parameters of a block"):
        forward(handle, *batch())
