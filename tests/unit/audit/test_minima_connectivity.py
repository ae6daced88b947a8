import pytest
import torch
from torch import nn

from beyondprop.audit.minima import Between, along, hidden_units, matched, permuted, weight_matching
from beyondprop.errors import UserError
from beyondprop.models.resnet import resnet20
from beyondprop.tasks import Split, find
from tests.reference import weight_matching as reference


def linear():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(8, 6),
        nn.LayerNorm(6),
        nn.GELU(),
        nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.PReLU(5)),
        nn.Linear(5, 3),
    )


def convolutions():
    return nn.Sequential(
        nn.Conv2d(1, 4, 2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 2, bias=False),
        nn.GroupNorm(1, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.BatchNorm1d(20),
        nn.Dropout(),
        nn.Linear(20, 6),
        nn.Tanh(),
        nn.Linear(6, 3),
    )


NETWORKS = {"linear": (linear, (2, 4)), "convolutions": (convolutions, (1, 6, 6))}


def trained(build, shape):
    """A network whose norms have something to say."""
    model = build()
    for each in model.parameters():
        nn.init.normal_(each, std=0.5)
    model(torch.randn(50, *shape))
    return model.eval()


def shuffled(model):
    """The same network with its units in another order."""
    hidden = hidden_units(model)
    orders = [torch.randperm(layer.units) for layer in hidden]
    return permuted(model.state_dict(), hidden, orders), orders


def parts(model, shape):
    """Samples that the network classifies right."""
    inputs = [torch.randn(n, *shape) for n in (40, 30)]
    train, test = (Split(x, model(x).argmax(1)) for x in inputs)
    return train, test


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_with_its_units_in_another_order_computes_the_same(kind):
    build, shape = NETWORKS[kind]
    model, other = trained(build, shape), build().eval()
    state, _ = shuffled(model)
    other.load_state_dict(state)
    x = torch.randn(7, *shape)
    assert not torch.equal(other.state_dict()["1.weight"], model.state_dict()["1.weight"])
    torch.testing.assert_close(other(x), model(x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_there_is_no_barrier_to_a_permuted_copy_behind_matching(kind):
    build, shape = NETWORKS[kind]
    first, second = trained(build, shape), build().eval()
    state, _ = shuffled(first)
    second.load_state_dict(state)
    found = matched(first, second)
    for name, each in first.state_dict().items():
        assert torch.equal(found[name], each), name
    ends = first.state_dict(), found
    task, model = find("digits-mlp"), build().eval()
    places = (0.0, 0.25, 0.5, 1.0)
    given = parts(first, shape)
    losses, scores = zip(*along(model, ends, places, task, given), strict=True)
    assert Between(places, losses, scores).barrier == pytest.approx(0, abs=1e-6)
    plain = along(model, (first.state_dict(), state), places, task, given)
    losses, scores = zip(*plain, strict=True)
    assert Between(places, losses, scores).barrier > 0.01


def test_matching_is_the_best_that_any_order_of_one_layer_gives():
    def network():
        return nn.Sequential(
            nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)
        )

    for seed in range(5):
        torch.manual_seed(seed)
        first, second = network(), network()
        tensors = [{n: p.detach() for n, p in m.named_parameters()} for m in (first, second)]
        orders = weight_matching(*tensors, hidden_units(first), seed)
        layers = [[(m.weight.detach(), m.bias.detach()) for m in n[::2]] for n in (first, second)]
        lists = [order.tolist() for order in orders]
        found = reference.likeness(*layers, lists)
        for layer in range(2):
            assert found == pytest.approx(reference.best_of_one(*layers, lists, layer))
        assert found > reference.likeness(*layers, [range(3), range(4)])
        assert found >= 0.8 * reference.best(*layers)


def test_the_barrier_is_the_rise_above_the_straight_line_of_both_ends():
    between = Between((0, 0.5, 1), (1, 5, 3), (0.8, 0.6, 0.9))
    assert between.barrier == pytest.approx(5 - 2)
    assert between.drop == pytest.approx(0.85 - 0.6)
    assert Between((0, 0.5, 1), (1, 0, 3), (0.8, 0.9, 0.9)).barrier == 0


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x))


SHARED = nn.Linear(4, 4)
UNKNOWN = {
    "ResidualBlock": resnet20,
    "Doubled": Doubled,
    "occurs twice": lambda: nn.Sequential(SHARED, nn.ReLU(), SHARED),
    "groups": lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1, groups=2)),
    "inputs do not match": lambda: nn.Sequential(nn.Linear(2, 3), nn.Flatten(), nn.Linear(6, 2)),
    "Softmax": lambda: nn.Sequential(nn.Linear(2, 3), nn.Softmax(1), nn.Linear(3, 2)),
    "over more": lambda: nn.Sequential(
        nn.Conv1d(1, 2, 1), nn.LayerNorm((2, 3)), nn.Flatten(), nn.Linear(6, 2)
    ),
    "GRU": lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.GRU(3, 3)),
    "other parameters": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)), nn.ReLU(), nn.Linear(3, 2)
    ),
}


@pytest.mark.parametrize("words", UNKNOWN)
def test_other_architectures_have_no_matching(words):
    model = UNKNOWN[words]()
    with pytest.raises(UserError, match=f"no matching .*{words}"):
        hidden_units(model)


def test_networks_that_differ_have_no_line_between_them():
    with pytest.raises(UserError, match="differ in 'bias'"):
        matched(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))


def test_the_line_measures_batch_norms_anew():
    build, shape = NETWORKS["linear"]
    first, second, model = trained(build, shape), trained(build, shape), build().eval()
    train, test = parts(first, shape)
    ends = first.state_dict(), second.state_dict()
    list(along(model, ends, (0.5,), find("digits-mlp"), (train, test)))
    with torch.no_grad():
        reached = model[4][0](model[:4](train.inputs))
    torch.testing.assert_close(model[4][1].running_mean, reached.mean(0))
    assert model[4][1].momentum == 0.1
    assert not any(module.training for module in model.modules())
