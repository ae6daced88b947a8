"""What every rule must keep on every architecture."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop import attachment, chain, teach
from tests.modules import CASES, Case

RULES = list(bp.rules.RULES)
TARGETS = torch.arange(6) % 4


def batch(case: Case, seed: int = 1) -> Tensor:
    return torch.randn(*case.inputs, generator=torch.Generator().manual_seed(seed))


def loss_of(case: Case, output: Any) -> Tensor:
    return sum(
        (F.cross_entropy(logits, TARGETS) for logits in case.logits(output)), torch.zeros(())
    )


def attached(case: Case, rule: str) -> tuple[nn.Module, bp.Attachment]:
    torch.manual_seed(3)
    model = case.build()
    return model, bp.attach(model, bp.rules.make(rule), case.blocks)


def taught(case: Case, model: nn.Module, x: Tensor) -> Tensor:
    handle = bp.attachment_of(model)
    if handle is None:
        return loss_of(case, model(x))
    with handle.targets(TARGETS):
        return loss_of(case, model(x))


def gradients(case: Case, model: nn.Module, x: Tensor) -> dict[str, Tensor | None]:
    model.zero_grad()
    taught(case, model, x).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def assert_same(a: dict[str, Tensor | None], b: dict[str, Tensor | None], exactly: bool = True):
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name] is None) == (b[name] is None), name
        if a[name] is not None:
            tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-4, "atol": 1e-6}
            torch.testing.assert_close(
                a[name], b[name], **tolerance, msg=lambda m, n=name: f"{n} {m}"
            )


def one_output_only(case: Case, rule: str) -> bool:
    return rule == "drtp" and case.name.endswith("-output")


PAIRS = [
    pytest.param(case, rule, id=f"{case.name}-{rule}")
    for case in CASES
    for rule in RULES
    if not one_output_only(case, rule)
]
every = pytest.mark.parametrize(("case", "rule"), PAIRS)


@every
def test_forward_and_state_dict_stay_the_same(case, rule):
    torch.manual_seed(3)
    plain = case.build()
    model, _ = attached(case, rule)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in plain.named_parameters()]
    x = batch(case)
    expected, found = case.logits(plain(x)), None
    handle = bp.attachment_of(model)
    with handle.targets(TARGETS):
        found = case.logits(model(x))
    torch.testing.assert_close(found, expected)
    plain.load_state_dict(model.state_dict())


@every
def test_remove_restores_the_plain_model(case, rule):
    torch.manual_seed(3)
    plain = case.build()
    model, handle = attached(case, rule)
    kinds = [type(m) for m in plain.modules()]
    handle.remove()
    handle.remove()
    assert [type(m) for m in model.modules()] == kinds
    x = batch(case)
    assert_same(gradients(case, model, x), gradients(case, plain, x))
    assert bp.attachment_of(model) is None
    assert [vars(m).keys() for m in model.modules()] == [vars(m).keys() for m in plain.modules()]


@every
def test_exact_gradients_equal_the_plain_model(case, rule):
    torch.manual_seed(3)
    plain = case.build()
    model, _ = attached(case, rule)
    x = batch(case)
    with bp.exact_gradients(model):
        assert_same(gradients(case, model, x), gradients(case, plain, x))


@every
def test_gradients_accumulate(case, rule):
    model, _ = attached(case, rule)
    model.eval()  # batch statistics would couple the two batches
    a, b = batch(case, 1), batch(case, 2)
    one, two = gradients(case, model, a), gradients(case, model, b)
    one = {n: None if g is None else g.clone() for n, g in one.items()}
    two = {n: None if g is None else g.clone() for n, g in two.items()}
    model.zero_grad()
    taught(case, model, a).backward()
    taught(case, model, b).backward()
    both = {n: None if one[n] is None else one[n] + two[n] for n in one}
    assert_same({n: p.grad for n, p in model.named_parameters()}, both, exactly=False)


@every
def test_two_forwards_before_one_backward(case, rule):
    model, _ = attached(case, rule)
    model.eval()
    a, b = batch(case, 1), batch(case, 2)
    model.zero_grad()
    taught(case, model, a).backward()
    taught(case, model, b).backward()
    expected = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    first, second = taught(case, model, a), taught(case, model, b)
    (first + second).backward()
    assert_same({n: p.grad for n, p in model.named_parameters()}, expected, exactly=False)


@every
def test_backward_twice_through_one_graph(case, rule):
    model, _ = attached(case, rule)
    once = {n: None if g is None else 2 * g for n, g in gradients(case, model, batch(case)).items()}
    model, _ = attached(case, rule)
    loss = taught(case, model, batch(case))
    loss.backward(retain_graph=True)
    loss.backward()
    assert_same({n: p.grad for n, p in model.named_parameters()}, once, exactly=False)


@every
def test_autograd_grad_of_some_parameters(case, rule):
    model, _ = attached(case, rule)
    x = batch(case)
    full = gradients(case, model, x)
    model, _ = attached(case, rule)
    trainable = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    for name, parameter in trainable[:: max(1, len(trainable) // 3)]:
        torch.manual_seed(0)
        model_now, _ = attached(case, rule)
        parameter = model_now.get_parameter(name)
        loss = taught(case, model_now, x)
        (found,) = torch.autograd.grad(loss, [parameter], allow_unused=True)
        assert_same({name: found}, {name: full[name]}, exactly=False)


@every
def test_deepcopy_and_pickle_are_independent_and_equal(case, rule):
    model, handle = attached(case, rule)
    x = batch(case)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    expected = gradients(case, model, x)
    for twin in twins:
        assert bp.attachment_of(twin) is not handle
        assert bp.attachment_of(twin).model is twin
        assert_same(gradients(case, twin, x), expected)
    bp.attachment_of(twins[0]).remove()
    assert bp.attachment_of(model) is handle
    model2, _ = attached(case, rule)
    assert_same(gradients(case, model2, x), expected)


@every
def test_no_grad_forward_leaves_no_trace(case, rule):
    model, handle = attached(case, rule)
    with torch.no_grad():
        output = model(batch(case))
    assert not any(t.requires_grad for t in case.logits(output))
    assert handle.lesson is None


@every
def test_state_dict_round_trip(case, rule):
    model, _ = attached(case, rule)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    other = case.build()
    handle = bp.attach(other, bp.rules.make(rule), case.blocks)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = batch(case)
    assert_same(gradients(case, handle.model, x), gradients(case, model, x))


@every
def test_backprop_equals_plain_and_frozen_moves_the_last_block_only(case, rule):
    model, handle = attached(case, rule)
    x = batch(case)
    found = gradients(case, model, x)
    if rule == "backprop":
        torch.manual_seed(3)
        assert_same(found, gradients(case, case.build(), x))
    if rule == "frozen":
        hidden = [p for block in handle.blocks[:-1] for _, p in block.parameters()]
        assert all(p.grad is None for p in hidden)
        assert any(p.grad is not None for _, p in handle.blocks[-1].parameters())


@pytest.mark.parametrize("rule", ["dfa", "drtp", "frozen"])
@pytest.mark.parametrize("case", [c for c in CASES if c.blocks is None], ids=lambda c: c.name)
def test_small_and_large_blocks_are_taught_the_same(case, rule, monkeypatch):
    x = batch(case)
    small = gradients(case, attached(case, rule)[0], x)
    monkeypatch.setattr(teach, "SMALL", 0)
    assert_same(gradients(case, attached(case, rule)[0], x), small)


chains = pytest.mark.parametrize(
    "case", [c for c in CASES if c.blocks is None], ids=lambda c: c.name
)


@pytest.mark.parametrize("rule", ["dfa", "drtp", "frozen"])
@chains
def test_a_chain_is_taught_the_same_by_hooks(case, rule, monkeypatch):
    x = batch(case)
    model, _ = attached(case, rule)
    assert type(model) is chain.TaughtSequential or len(list(model.children())) == 1
    by_itself = gradients(case, model, x)
    monkeypatch.setattr(attachment, "is_plain_chain", lambda *_: False)
    hooked, _ = attached(case, rule)
    assert type(hooked) is nn.Sequential
    assert_same(gradients(case, hooked, x), by_itself)


@pytest.mark.parametrize("rule", ["dfa", "drtp", "frozen"])
@chains
def test_a_fused_chain_is_taught_the_same(case, rule, monkeypatch):
    x = batch(case)
    expected = gradients(case, attached(case, rule)[0], x)
    monkeypatch.setattr(chain, "DEEP", 1)
    model, _ = attached(case, rule)
    assert_same(gradients(case, model, x), expected, exactly=False)
    if case.name in ("equal-widths", "frozen-part"):
        assert vars(model)["_fused"] is not None
        assert fused_in(taught(case, model, x))


def fused_in(loss):
    """Whether a fused chain stands in the loss's graph."""
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
    return any("FusedChain" in type(node).__name__ for node in seen)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("amount", [0, teach.SMALL], ids=["large", "small"])
def test_input_gradient_goes_through_the_first_blocks_signal(rule, amount, monkeypatch):
    monkeypatch.setattr(teach, "SMALL", amount)
    case = CASES[0]
    model, handle = attached(case, rule)
    x = batch(case).requires_grad_()
    taught(case, model, x).backward()
    if rule == "frozen":
        assert x.grad is None
        return
    first = handle.blocks[0].modules[0][1]
    # For a linear layer ∂L/∂x = δ W and ∂L/∂b = Σ δ, so the two agree summed over the batch.
    if rule != "fa":
        torch.testing.assert_close(x.grad.sum(0), first.bias.grad @ first.weight.detach())


@pytest.mark.parametrize("case", [c for c in CASES if c.name.endswith("-output")], ids=str)
def test_drtp_refuses_several_outputs(case):
    model, _ = attached(case, "drtp")
    with pytest.raises(bp.UserError, match="one output only"):
        taught(case, model, batch(case)).backward()
