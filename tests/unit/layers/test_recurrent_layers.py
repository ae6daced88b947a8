"""Recurrent layers whose products have a backward of their own."""

import copy

import numpy as np
import pytest
import torch
from tests import internals
from tests.reference import recurrent_layers as reference
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from transport import Only, Transport, assert_transported, feedback_of, outcome, rand, tensors

import beyondprop as bp

KINDS = {
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "projected": lambda *sizes, **options: nn.LSTM(*sizes, proj_size=2, **options),
}
OPTIONS = [
    {},
    {"bias": False},
    {"batch_first": True},
    {"bidirectional": True},
    {"num_layers": 3},
    {"num_layers": 2, "dropout": 0.5},
    {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.3},
]
every_kind = pytest.mark.parametrize("kind", list(KINDS))
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def layer_of(kind, **options):
    torch.manual_seed(0)
    return KINDS[kind](4, 3, **options).double()


def states_of(layer, *batch):
    """Return states to begin with, as tensors and as the layer takes them."""
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    h = rand(count, *batch, layer.proj_size or 3)
    return ([h, c := rand(count, *batch, 3)], (h, c)) if isinstance(layer, nn.LSTM) else ([h], h)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("batch", [(2,), ()], ids=["batch", "one"])
@every_option
@every_kind
def test_weight_transport_is_backprop(kind, options, batch, given):
    layer = layer_of(kind, **options)
    shape = (*batch, 5) if options.get("batch_first") else (5, *batch)
    x, (states, hx) = rand(*shape, 4), states_of(layer, *batch)
    inputs = [x, *states] if given else [x]
    assert_transported(layer, lambda m: m(x, hx) if given else m(x), inputs)


def flat(value):
    """Return what a layer returns with packed sequences as tensors."""
    output, ended = value
    return (output.data, ended) if isinstance(output, PackedSequence) else value


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("lengths", [[5, 3, 3, 1], [2, 4, 1, 4], [3, 3, 3, 3]], ids=str)
@every_option
@every_kind
def test_packed_sequences(kind, options, lengths, given):
    layer = layer_of(kind, **options)
    rows, (states, hx) = [rand(length, 4) for length in lengths], states_of(layer, 4)

    def call(model):
        packed = pack_sequence(rows, enforce_sorted=lengths == [5, 3, 3, 1])
        return flat(model(packed, hx) if given else model(packed))

    assert_transported(layer, call, [*rows, *states] if given else rows)


@pytest.mark.parametrize("rule", ["transport", "fa", "usf", "wm"])
@pytest.mark.parametrize("kind", ["tanh", "relu", "gru", "lstm", "projected"])
def test_one_layer_equals_the_reference(kind, rule):
    layer = layer_of(kind)
    model = Only(layer)
    given = Transport(factor=1.5) if rule == "transport" else bp.rules.make(rule)
    bp.attach(model, given, blocks=["layer"])
    x, (states, hx) = rand(4, 2, 4), states_of(layer, 2)
    output, ended = model(x, hx)
    ended = tensors(ended)
    errors = [torch.randn_like(tensor) for tensor in (output, *ended)]
    torch.autograd.backward([output, *ended], errors)

    named = {n: p.detach().numpy() for n, p in layer.named_parameters()}
    backward = {n: feedback_of(layer, n).numpy() for n in named if n.startswith("weight")}
    totals = {n: np.zeros(p.shape) for n, p in named.items()}
    for n in range(2):  # one sequence at a time
        begun = [state[0, n].detach().numpy() for state in states]
        own = [errors[0][:, n].numpy(), *(error[0, n].numpy() for error in errors[1:])]
        inputs = x[:, n].detach().numpy()
        found = reference.run(kind, inputs, begun, named, backward, own)
        close(output[:, n], found.outputs)
        for mine, its in zip(ended, found.ended, strict=True):
            close(mine[0, n], its)
        close(x.grad[:, n], found.at_inputs)
        for state, its in zip(states, found.at_states, strict=True):
            close(state.grad[0, n], its)
        for name, one in found.gradients.items():
            totals[name] += one
    for name, total in totals.items():
        close(layer.get_parameter(name).grad, total)


def close(found, expected):
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_each_weight_has_a_matrix_of_its_own():
    layer = layer_of("projected", num_layers=2, bidirectional=True)
    bp.attach(Only(layer), bp.FeedbackAlignment(), blocks=["layer"])
    names = [n for n, _ in layer.named_parameters() if n.startswith("weight")]
    assert len(names) == 12
    found = [feedback_of(layer, name) for name in names]
    assert [m.shape for m in found] == [layer.get_parameter(n).shape for n in names]
    pairs = [(a, b) for i, a in enumerate(found) for b in found[:i] if a.shape == b.shape]
    alike = [torch.equal(a, b) for a, b in pairs]
    assert alike
    assert not any(alike)


def test_a_rule_is_asked_once_a_pass_for_a_weight_that_all_steps_use():
    asked = []

    class Counting(Transport):
        def feedback(self, weight, at):
            asked.append(at.name)
            return weight

    model = Only(layer_of("lstm", num_layers=2))
    bp.attach(model, Counting(), blocks=["layer"])
    model(rand(7, 2, 4))[0].sum().backward()
    assert sorted(asked) == [f"weight_{which}_l{k}" for which in ("hh", "ih") for k in (0, 1)]


@every_kind
def test_what_pytorch_refuses_is_refused_alike(kind):
    layer = layer_of(kind)
    model = Only(layer)
    wrong = [
        (rand(0, 2, 4),), (rand(3, 2, 5),), (rand(4),), (rand(3, 2, 2, 4),),
        (rand(3, 2, 4), states_of(layer, 5)[1]), (rand(3, 2, 4).float(),),
    ]  # fmt: skip

    def said():
        found = []
        for inputs in wrong:
            with pytest.raises((RuntimeError, ValueError)) as caught:
                model(*inputs)
            found.append((type(caught.value), str(caught.value)))
        return found

    plain = said()
    bp.attach(model, bp.FeedbackAlignment(), blocks=["layer"])
    assert said() == plain


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("given", [True, False])
@every_kind
def test_autocast_gives_the_dtypes_and_nearly_the_numbers_of_the_plain_layer(kind, given, dtype):
    layer = layer_of(kind).to(dtype)
    x, (states, _) = rand(3, 2, 4).to(dtype), states_of(layer, 2)
    states = [h.to(dtype) for h in states]
    hx = tuple(states) if len(states) > 1 else states[0]
    model = Only(layer)

    def call(model):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x, hx) if given else model(x)

    plain = outcome(model, call, [])
    bp.attach(model, Transport(), blocks=["layer"])
    ours = outcome(model, call, [])
    assert [t.dtype for t in ours[0]] == [t.dtype for t in plain[0]]
    tolerance = 0.1 if dtype is torch.float32 else 1e-10
    torch.testing.assert_close(ours, plain, rtol=tolerance, atol=tolerance)


def test_a_network_learns_and_its_copy_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), layer_of("gru", batch_first=True).float())
    model.append(Last()).append(nn.Linear(3, 2))
    handle = bp.attach(model, bp.FeedbackAlignment())
    assert "own backward for 1" in str(handle.report)
    x = torch.randn(64, 6, 4)
    y = (x[:, -1, 0] > 0).long()
    twin = copy.deepcopy(model)
    for each in (model, twin):
        optimizer = torch.optim.Adam(each.parameters(), 0.02)
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(each(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]
    assert internals.is_swapped(twin[1])


class Last(nn.Module):
    def forward(self, given):
        return given[0][:, -1]
