"""Rules that run the model's forward pass themselves: what they leave alone and refuse."""

import copy

import pytest
import torch
import torch.nn.functional as F
from tests.modules import CASE
from torch import nn
from torch.nn.utils import prune

import beyondprop as bp

RULES = [
    bp.ForwardGradient(),
    bp.PEPITA(),
    bp.DualPropagation(),
    bp.PredictiveCoding(),
    bp.ErrorPredictiveCoding(),
]
every = pytest.mark.parametrize("rule", RULES, ids=["fg", "pepita", "dualprop", "pc", "epc"])


def mlp():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@every
def test_no_graph_leads_through_the_network(rule):
    model = mlp()
    bp.attach(model, rule)
    output = model(torch.randn(5, 3))
    behind = [node for node, _ in output.grad_fn.next_functions if node is not None]
    assert {node.variable for node in behind} == set(model.parameters())


@every
def test_a_models_own_hooks_are_called_once(rule):
    model, calls = mlp(), []
    model.register_forward_hook(lambda *_: calls.append("model"))
    model[0].register_forward_hook(lambda *_: calls.append("layer"))
    bp.attach(model, rule)
    model(torch.randn(5, 3))
    assert calls == ["layer", "model"]


def test_a_forward_on_the_instance_is_used_and_given_back():
    model = mlp()
    own = model.forward = lambda x: nn.Sequential.forward(model, x) * 2
    x = torch.randn(5, 3)
    expected = model(x)
    handle = bp.attach(model, bp.ForwardGradient())
    torch.testing.assert_close(model(x), expected)
    handle.remove()
    assert vars(model)["forward"] is own


@every
def test_a_copy_is_taught_by_itself(rule):
    model = mlp()
    bp.attach(model, rule)
    twin = copy.deepcopy(model)
    twin(torch.randn(5, 3)).sum().backward()
    assert twin[0].weight.grad is not None
    assert model[0].weight.grad is None
    bp.attachment_of(twin).remove()
    assert "forward" not in vars(twin)
    assert "forward" in vars(model)


@every
def test_no_other_rule_stands_beside(rule):
    rules = {"0": bp.Backprop(), "2": rule}
    with pytest.raises(
        bp.AttachError, match=r"teaches the model as a whole.*cannot be combined with another rule"
    ):
        bp.attach(mlp(), rules)


@every
def test_blocks_that_leave_parameters_out_are_refused(rule):
    with pytest.raises(bp.AttachError, match="teaches the model as a whole: leave blocks= out"):
        bp.attach(mlp(), rule, blocks=["2"])
    bp.attach(mlp(), rule, blocks=["0", "2"])


@every
def test_second_derivatives_are_refused(rule):
    model = mlp()
    bp.attach(model, rule)
    loss = model(torch.randn(5, 3)).square().sum()
    with pytest.raises(bp.UserError, match="create_graph=True"):
        torch.autograd.grad(loss, [model[0].weight], create_graph=True)


@every
def test_it_cannot_learn_inside_the_forward_pass(rule):
    model = mlp()
    handle = bp.attach(model, rule)
    with pytest.raises(bp.UserError, match="cannot train a block during the forward pass"):
        handle.follow(bp.Immediate(torch.optim.SGD(model.parameters(), 0.1)))


@every
def test_a_model_of_which_nothing_learns_is_left_alone(rule):
    model = mlp().requires_grad_(False)
    bp.attach(model, rule)
    x = torch.randn(5, 3, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None


def test_a_loss_as_the_models_output_is_taught_by():
    class WithLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x, y):
            return F.cross_entropy(self.net(x), y)

    model = WithLoss()
    bp.attach(model, bp.ForwardGradient())
    model(torch.randn(5, 3), torch.zeros(5, dtype=torch.int64)).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_refused_pass_leaves_all_as_it_was():
    case = CASE["bag-of-words"]
    model = case.fresh()
    handle = bp.attach(model, bp.ForwardGradient())
    before = list(model.named_parameters())
    fast = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(bp.UserError, match=r"_embedding_bag.*use another rule"):
        model(*case.batch().inputs)
    assert [(n, id(p)) for n, p in model.named_parameters()] == [(n, id(p)) for n, p in before]
    assert torch.backends.mha.get_fastpath_enabled() == fast
    handle.remove()
    model(*case.batch().inputs).sum().backward()


def test_passes_go_on_after_a_checkpoint():
    model, x = mlp(), torch.randn(5, 3)
    handle = bp.attach(model, bp.ForwardGradient())
    for _ in range(3):
        model(x)
    assert handle.state_dict().keys() == {"passes", "projections"}
    assert handle.state_dict()["passes"] == 3
    twin = mlp()
    again = bp.attach(twin, bp.ForwardGradient())
    twin.load_state_dict(model.state_dict())
    again.load_state_dict(handle.state_dict())
    found = []
    for each in (model, twin):
        each(x).sum().backward()
        found.append([p.grad for p in each.parameters()])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_batch_norms_stand_between_layers(dtype):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    bp.attach(model, bp.ForwardGradient())
    with torch.autocast("cpu", dtype=dtype):
        output = model(torch.randn(5, 3))
    assert output.dtype is dtype
    output.float().square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@every
def test_a_layer_that_is_used_twice_stays_the_models_own(rule):
    twice = nn.Linear(3, 3)
    model = nn.Sequential(twice, nn.Tanh(), twice, nn.Tanh(), nn.Linear(3, 2))
    own = list(model.parameters())
    bp.attach(model, rule)
    F.cross_entropy(model(torch.randn(4, 3)), torch.tensor([0, 1, 0, 1])).backward()
    assert all(now is before for now, before in zip(model.parameters(), own, strict=True))
    assert all(p.grad is not None for p in own)


MAKERS = [
    lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    nn.utils.parametrizations.weight_norm,
    nn.utils.parametrizations.spectral_norm,
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "rule",
    [
        *(bp.PEPITA(), bp.DualPropagation(), bp.PredictiveCoding(), bp.ErrorPredictiveCoding()),
        *(bp.SoftHebb(), bp.KolenPollack()),
    ],
)
def test_weights_that_are_made_from_others_after_attach_are_refused(rule, make):
    model = mlp()
    x, y = torch.randn(5, 3), torch.arange(5) % 2
    handle = bp.attach(model, rule)
    F.cross_entropy(model(x), y).backward()
    make(model[0])
    model.zero_grad()
    with pytest.raises(bp.UserError, match=r"computed from other|was replaced, added"):
        F.cross_entropy(model(x), y).backward()
    with bp.exact_gradients(model):
        F.cross_entropy(model(x), y).backward()
    handle.remove()
    F.cross_entropy(model(x), y).backward()
