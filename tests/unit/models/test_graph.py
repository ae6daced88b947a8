"""Graph convolutions: their numbers, by slow formulas and by another package."""

import numpy as np
import pytest
import torch
from tests.reference import graph as slow
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.core import Rule
from beyondprop.errors import UserError
from beyondprop.models import graph
from beyondprop.tasks.graphs import both_ways

NODES, INPUTS, OUTPUTS = 9, 5, 3
NETWORKS = {
    "gcn": graph.gcn,
    "cheb": graph.cheb,
    "gat": graph.gat,
    "sage": graph.sage,
    "spline": graph.spline,
}


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def edges() -> Tensor:
    """Return edges among eight nodes; the ninth has none."""
    return both_ways(torch.tensor([[0, 0, 1, 2, 3, 4, 5, 5], [1, 2, 2, 3, 4, 5, 6, 7]]))


def neighbours() -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(NODES)]
    for source, target in edges().t().tolist():
        found[target].append(source)
    return found


def parts(layer: nn.Module) -> list[Tensor]:
    """Return the weights of each term of a convolution, (outputs, inputs)."""
    first = isinstance(layer, graph.Convolution)
    return list(layer.linear.weight.detach().chunk(layer.propagation.terms, 0 if first else 1))


def bias(layer: nn.Module) -> nn.Parameter:
    return layer.bias if isinstance(layer, graph.Convolution) else layer.linear.bias


sides = pytest.mark.parametrize("side", [graph.Convolution, graph.OutputConvolution])


@sides
@pytest.mark.parametrize(
    ("propagation", "formula"),
    [
        (graph.Neighbours(), slow.gcn),
        (graph.Chebyshev(1), slow.chebyshev),
        (graph.Chebyshev(2), slow.chebyshev),
        (graph.Chebyshev(4), slow.chebyshev),
        (graph.MeanAndSelf(), slow.sage),
        (graph.Splines(), slow.spline),
    ],
    ids=["gcn", "cheb1", "cheb2", "cheb4", "sage", "spline"],
)
def test_a_convolution_computes_its_formula(side, propagation, formula):
    layer = side(propagation, INPUTS, OUTPUTS)
    nn.init.normal_(bias(layer))
    x = torch.randn(NODES, INPUTS)
    weights = [part.t().numpy() for part in parts(layer)]
    expected = formula(x.numpy(), neighbours(), weights, bias(layer).detach().numpy())
    found = layer(x, edges())
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12, atol=1e-14)


def test_attention_computes_its_formula_for_each_head():
    layer = graph.Attention(INPUTS, OUTPUTS, heads=2)
    nn.init.normal_(layer.bias)
    x = torch.randn(NODES, INPUTS)
    found = layer(x, edges()).detach().numpy()
    for head in range(2):
        part = slice(head * OUTPUTS, (head + 1) * OUTPUTS)
        expected = slow.attention(
            x.numpy(),
            neighbours(),
            layer.linear.weight[part].detach().t().numpy(),
            layer.source.weight[head].detach().flatten().numpy(),
            layer.target.weight[head].detach().flatten().numpy(),
            layer.bias[part].detach().numpy(),
        )
        np.testing.assert_allclose(found[:, part], expected, rtol=1e-12, atol=1e-14)


def test_weights_of_a_softmax_sum_to_one_and_stay_finite():
    scores = torch.tensor([[1e4, -1e4], [1e4, 3.0], [5.0, 5.0]])
    weights = graph.softmax_by_target(scores, torch.tensor([0, 0, 2]), 3)
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.0], [0.5, 1.0], [1.0, 1.0]]))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_right(name):
    model = NETWORKS[name](INPUTS, OUTPUTS, dropout=0.0)
    nodes = torch.tensor([7, 1])
    x = torch.randn(NODES, INPUTS, requires_grad=True)
    weight = torch.randn(2, OUTPUTS)

    def loss(x: Tensor) -> Tensor:
        return (model(x, edges(), nodes).sin() * weight).sum()

    assert torch.autograd.gradcheck(loss, x)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_nodes_asked_for_are_given_in_their_order(name):
    model = NETWORKS[name](INPUTS, OUTPUTS).eval()
    x, nodes = torch.randn(NODES, INPUTS), torch.tensor([8, 0, 3])
    whole = model(x, edges(), torch.arange(NODES))
    assert whole.shape == (NODES, OUTPUTS)
    assert whole.isfinite().all()
    torch.testing.assert_close(model(x, edges(), nodes), whole[nodes])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_edges_is_of_no_account(name):
    model = NETWORKS[name](INPUTS, OUTPUTS).eval()
    x, nodes, order = torch.randn(NODES, INPUTS), torch.arange(NODES), torch.randperm(16)
    torch.testing.assert_close(
        model(x, edges()[:, order], nodes), model(x, edges(), nodes), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_is_near(name):
    torch.set_default_dtype(torch.float32)
    model = NETWORKS[name](INPUTS, OUTPUTS, dropout=0.0)
    x, nodes = torch.randn(NODES, INPUTS), torch.arange(NODES)
    expected = model(x, edges(), nodes)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(x, edges(), nodes)
        loss = found.float().square().mean()
    loss.backward()
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_dropout_of_inputs_keeps_their_mean_and_their_zeros():
    x = torch.rand(400, 50) * (torch.rand(400, 50) < 0.3)
    layer = graph.InputDropout(0.25)
    found = layer(x)
    kept = found != 0
    assert not found[x == 0].any()
    torch.testing.assert_close(found[kept], x[kept] / 0.75)
    assert kept.sum() / (x != 0).sum() == pytest.approx(0.75, abs=0.02)
    assert layer.eval()(x) is x
    assert graph.InputDropout(0.0)(x) is x


def step(model: nn.Module, rule: Rule, labels: dict[int, int], x: Tensor) -> None:
    handle = bp.attach(model, rule, graph.BLOCKS, graph.AXES, graph.OUTPUT)
    nodes, classes = torch.tensor(list(labels)), torch.tensor(list(labels.values()))
    with handle.targets(classes):
        loss = nn.functional.cross_entropy(model(x, edges(), nodes), classes)
    loss.backward()
    handle.remove()


LABELS = {1: 0, 4: 2, 6: 1, 8: 1}


def test_direct_feedback_is_each_nodes_own_error():
    model = graph.gcn(INPUTS, OUTPUTS, hidden=4, dropout=0.0)
    nn.init.normal_(model.conv1.bias)
    x = torch.randn(NODES, INPUTS)
    projection = bp.projections.Dense()
    rule = bp.DirectFeedbackAlignment(projection)
    layers = [model.conv1, model.conv2]
    given = [
        (layer.linear.weight.detach().t().numpy(), bias(layer).detach().numpy()) for layer in layers
    ]
    handle = bp.attach(model, rule, graph.BLOCKS, graph.AXES, graph.OUTPUT)
    stream = projection.stream(handle.blocks[0].stream)
    handle.remove()
    feedback = projection.project(torch.eye(OUTPUTS), 4, stream).numpy()
    expected = slow.feedback_step(x.numpy(), neighbours(), *given, feedback, LABELS)
    step(model, rule, LABELS, x)
    for layer, wanted in zip(layers, expected, strict=True):
        found = layer.linear.weight.grad.t().numpy(), bias(layer).grad.numpy()
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", NETWORKS)
def test_backprop_is_plain_autograd(name):
    model = NETWORKS[name](INPUTS, OUTPUTS, dropout=0.0)
    x = torch.randn(NODES, INPUTS)
    step(model, bp.Backprop(), LABELS, x)
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    nodes, classes = torch.tensor(list(LABELS)), torch.tensor(list(LABELS.values()))
    nn.functional.cross_entropy(model(x, edges(), nodes), classes).backward()
    torch.testing.assert_close([p.grad for p in model.parameters()], found)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rule", ["fa", "kp", "usf", "brsf", "frsf", "wm", "dfa", "dkp"])
def test_rules_of_layers_and_direct_rules_teach_every_network(name, rule):
    model = NETWORKS[name](INPUTS, OUTPUTS, dropout=0.0)
    step(model, bp.rules.make(rule), LABELS, torch.randn(NODES, INPUTS))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_rules_that_see_targets_say_why_they_cannot():
    x = torch.randn(NODES, INPUTS)
    for rule in ("drtp", "dgl"):
        with pytest.raises(UserError):
            step(graph.gcn(INPUTS, OUTPUTS), bp.rules.make(rule), LABELS, x)


@pytest.mark.foreign
@pytest.mark.filterwarnings("ignore")
class TestAgainstPyTorchGeometric:
    """The same weights make the same numbers."""

    @pytest.fixture
    def conv(self):
        return pytest.importorskip("torch_geometric.nn.conv")

    @pytest.fixture(params=[(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["double", "float"])
    def precision(self, request):
        torch.set_default_dtype(request.param[0])
        return request.param[1]

    def compared(self, ours: nn.Module, theirs: nn.Module, tolerance: float) -> None:
        x = torch.randn(NODES, INPUTS)
        torch.testing.assert_close(
            ours(x, edges()), theirs(x, edges()), rtol=tolerance, atol=tolerance
        )

    @sides
    def test_gcn(self, conv, precision, side):
        ours = side(graph.Neighbours(), INPUTS, OUTPUTS)
        theirs = conv.GCNConv(INPUTS, OUTPUTS)
        theirs.lin.weight.data = ours.linear.weight.data
        self.compared(ours, theirs, precision)

    @sides
    @pytest.mark.parametrize("terms", [1, 2, 3, 5])
    def test_cheb(self, conv, precision, side, terms):
        ours = side(graph.Chebyshev(terms), INPUTS, OUTPUTS)
        theirs = conv.ChebConv(INPUTS, OUTPUTS, K=terms)
        for layer, part in zip(theirs.lins, parts(ours), strict=True):
            layer.weight.data = part
        self.compared(ours, theirs, precision)

    @sides
    def test_sage(self, conv, precision, side):
        ours = side(graph.MeanAndSelf(), INPUTS, OUTPUTS)
        theirs = conv.SAGEConv(INPUTS, OUTPUTS)
        theirs.lin_l.weight.data, theirs.lin_r.weight.data = parts(ours)
        theirs.lin_l.bias.data = bias(ours).data
        self.compared(ours, theirs, precision)

    @pytest.mark.parametrize("heads", [1, 4])
    def test_attention(self, conv, precision, heads):
        ours = graph.Attention(INPUTS, OUTPUTS, heads)
        theirs = conv.GATConv(INPUTS, OUTPUTS, heads=heads)
        theirs.lin.weight.data = ours.linear.weight.data
        theirs.att_src.data = ours.source.weight.data.view(1, heads, OUTPUTS)
        theirs.att_dst.data = ours.target.weight.data.view(1, heads, OUTPUTS)
        self.compared(ours, theirs, precision)
