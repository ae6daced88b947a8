"""Dual propagation against its slow reference, a released program, and what is known of it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.modules import CASE
from tests.reference import dual_propagation as dual
from torch import nn

import beyondprop as bp
from beyondprop.measure import alignment

CLOSE = {"rtol": 1e-9, "atol": 1e-12}
WIDTHS = [3, 4, 5, 3]

CONVOLUTION = {
    (0.5, 0.7, 1): (
        [-0.026998479335949142, 0.04610672703353525, 0.0653762338024713],
        [0.06856606147363949, 0.002469101457416717, -0.062053667768458394],
        [0.0, 0.0, 0.0],
    ),
    (0.5, 0.05, 3): (
        [-0.024162836968145262, 0.05060828599036986, 0.06036212963759579],
        [0.06380420151310032, 0.003854594314935955, -0.061885428122333275],
        [0.0, 0.0, 0.0],
    ),
    (0.0, 0.7, 1): (
        [-0.01804315679123529, 0.08269664704049956, 0.050384384665425476],
        [0.03713145865463498, 4.285986776209061e-06, -0.06411366213434858],
        [-0.03182435425577122, 0.0, 0.0],
    ),
    (0.0, 0.7, 3): (
        [-0.01804315679123529, 0.08269664704049956, 0.050384384665425476],
        [0.03713145865463498, 4.285986776209061e-06, -0.06411366213434858],
        [-0.03182435425577122, 0.0, 0.0],
    ),
}
"""By α, β and passes, of the authors' program (github.com/Rasmuskh/dualprop_icml_2024, class
`cnn_dualprop_Lagr_ff`) in float64: the gradients of a row of the first kernel, of the second
convolution's bias, and of the beginning of a row of the first linear layer's weight."""


def mlp(widths, activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1]).double()


def batch_for(widths, rows=6):
    x = torch.randn(rows, widths[0], dtype=torch.float64)
    return x, torch.arange(rows) % widths[-1]


def learn(model, x, y, rule=None, scale=1.0):
    """Return the gradients of the model's parameters by a rule, or the true ones."""
    handle = bp.attach(model, rule or bp.Backprop())
    model.zero_grad()
    (F.cross_entropy(model(x), y) * scale).backward()
    handle.remove()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def numbers(shape, k):
    """Return a tensor that anyone can make again."""
    values = np.sin(1.7 * np.arange(1, np.prod(shape) + 1) + 0.9 * k).reshape(shape)
    return torch.from_numpy(0.8 * values)


@settings(max_examples=30, deadline=None)
@given(
    widths=st.lists(st.integers(2, 5), min_size=2, max_size=6),
    rows=st.integers(1, 4),
    seed=st.integers(0, 2**16),
    alpha=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    nudge=st.sampled_from([0.1, 1.0]),
    passes=st.integers(1, 3),
)
def test_gradients_equal_the_reference(widths, rows, seed, alpha, nudge, passes):
    model = mlp(widths, seed=seed)
    x, y = batch_for(widths, rows)
    found = learn(model, x, y, bp.DualPropagation(alpha, nudge, passes))
    linears = [module for module in model if isinstance(module, nn.Linear)]
    weights = [linear.weight.detach().numpy() for linear in linears]
    biases = [linear.bias.detach().numpy() for linear in linears]
    batch = list(zip(x.numpy(), y.tolist(), strict=True))
    expected = dual.gradients(weights, biases, batch, alpha, nudge, passes)
    for i, (weight, bias) in enumerate(expected):
        np.testing.assert_allclose(found[f"{2 * i}.weight"].numpy(), weight, **CLOSE)
        np.testing.assert_allclose(found[f"{2 * i}.bias"].numpy(), bias, **CLOSE)


@pytest.mark.parametrize(("alpha", "nudge", "passes"), CONVOLUTION)
def test_convolutions_equal_the_released_program(alpha, nudge, passes):
    layers = [
        nn.Conv2d(1, 2, 3, padding=1),
        nn.Conv2d(2, 3, 3, padding=1),
        nn.Linear(27, 4),
        nn.Linear(4, 3),
    ]
    model = nn.Sequential(
        *(layers[0], nn.ReLU(), nn.MaxPool2d(2), layers[1], nn.ReLU(), nn.Flatten()),
        *(layers[2], nn.ReLU(), layers[3]),
    ).double()
    with torch.no_grad():
        for k, layer in enumerate(layers, 1):
            layer.weight.copy_(numbers(layer.weight.shape, k) * (0.5 if k == 3 else 1))
            layer.bias.copy_(0.3 * numbers(layer.bias.shape, 10 + k))
    x, y = numbers((2, 1, 6, 6), 99), torch.tensor([2, 0])
    found = learn(model, x, y, bp.DualPropagation(alpha, nudge, passes))
    kernel, bias, weight = CONVOLUTION[alpha, nudge, passes]
    np.testing.assert_allclose(found["0.weight"][1, 0, 1].numpy(), kernel, **CLOSE)
    np.testing.assert_allclose(found["3.bias"].numpy(), bias, **CLOSE)
    np.testing.assert_allclose(found["6.weight"][2, :3].numpy(), weight, **CLOSE)


def convnet():
    """Layers of every kind that is carried back by a graph of its own."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.Tanh()),
        *(nn.MaxPool2d(2), nn.Sigmoid(), nn.Conv2d(4, 4, 2, groups=2), nn.Flatten(), nn.Tanh()),
        *(nn.Linear(16, 5), nn.Softplus(), nn.Linear(5, 3)),
    ).double()


def error_against_backprop(build, x, y, rule):
    model = build()
    exact, found = learn(model, x, y), learn(model, x, y, rule)
    return max((found[name] - exact[name]).abs().max().item() for name in exact)


@pytest.mark.parametrize(("alpha", "order"), [(0.5, 2), (0.0, 1), (0.3, 1), (1.0, 1)])
@pytest.mark.parametrize("passes", [1, 2])
def test_it_becomes_backprop_as_the_nudge_shrinks(alpha, order, passes):
    x, y = torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.arange(4) % 3
    coarse, fine = (
        error_against_backprop(convnet, x, y, bp.DualPropagation(alpha, nudge, passes))
        for nudge in (1e-2, 5e-3)
    )
    assert 0 < fine < 1e-3
    assert coarse / fine == pytest.approx(2**order, rel=0.05)


@pytest.mark.parametrize("nudge", [0.1, 5.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5])
def test_without_activations_it_is_backprop(alpha, nudge):
    x, y = batch_for(WIDTHS)
    model = mlp(WIDTHS, nn.Identity)
    found, exact = learn(model, x, y, bp.DualPropagation(alpha, nudge)), learn(model, x, y)
    torch.testing.assert_close(found, exact)


def test_a_single_layer_learns_by_backprop():
    model, (x, y) = mlp([3, 4]), batch_for([3, 4])
    found, exact = learn(model, x, y, bp.DualPropagation(0.3, 0.7, 2)), learn(model, x, y)
    torch.testing.assert_close(found, exact)


def test_the_last_bias_is_exact_and_the_last_weight_is_not():
    model, (x, y) = mlp(WIDTHS), batch_for(WIDTHS)
    found, exact = learn(model, x, y, bp.DualPropagation(0.3, 0.7)), learn(model, x, y)
    torch.testing.assert_close(found["4.bias"], exact["4.bias"], rtol=0, atol=0)
    assert (found["4.weight"] - exact["4.weight"]).abs().max() > 1e-4


def test_rectifiers_far_from_zero_pass_errors_unchanged():
    model, (x, y) = mlp(WIDTHS, nn.ReLU), batch_for(WIDTHS)
    with torch.no_grad():
        model[0].bias += 100
        model[2].bias += 1000
    found, exact = learn(model, x, y, bp.DualPropagation()), learn(model, x, y)
    torch.testing.assert_close(found, exact)


def test_half_the_loss_with_twice_the_nudge_gives_half_the_gradients():
    model, (x, y) = mlp(WIDTHS), batch_for(WIDTHS)
    once = learn(model, x, y, bp.DualPropagation(nudge=0.5))
    half = learn(model, x, y, bp.DualPropagation(nudge=1.0), scale=0.5)
    for name, gradient in half.items():
        torch.testing.assert_close(2 * gradient, once[name], rtol=1e-12, atol=1e-14)


def test_a_batch_twice_gives_the_same_gradients():
    """The nudge is one of each row."""
    model, (x, y) = mlp(WIDTHS), batch_for(WIDTHS)
    once = learn(model, x, y, bp.DualPropagation())
    twice = learn(model, x.repeat(2, 1), y.repeat(2), bp.DualPropagation())
    torch.testing.assert_close(once, twice)


def test_tokens_are_rows_and_so_are_pixels():
    model, rule = mlp(WIDTHS), bp.DualPropagation()
    x, y = torch.randn(2, 4, 3, dtype=torch.float64), torch.arange(8) % 3

    def of(model, inputs):
        handle = bp.attach(model, rule)
        model.zero_grad()
        logits = model(inputs)
        logits = logits.movedim(1, -1) if logits.dim() == 4 else logits
        F.cross_entropy(logits.reshape(-1, 3), y).backward()
        handle.remove()
        return [p.grad.flatten() for p in model.parameters()]

    rows = of(model, x.flatten(0, 1))
    torch.testing.assert_close(of(model, x), rows)
    torch.testing.assert_close(of(as_convolutions(model), x.view(2, 2, 2, 3).movedim(-1, 1)), rows)


def as_convolutions(model):
    """Return a chain of linear layers as convolutions of single pixels."""
    layers = []
    for module in model:
        if isinstance(module, nn.Linear):
            layer = nn.Conv2d(module.in_features, module.out_features, 1).double()
            with torch.no_grad():
                layer.weight.copy_(module.weight[:, :, None, None])
                layer.bias.copy_(module.bias)
        layers.append(layer if isinstance(module, nn.Linear) else module)
    return nn.Sequential(*layers)


def test_with_the_plus_state_alone_nudged_one_pass_is_all():
    model, (x, y) = mlp(WIDTHS), batch_for(WIDTHS)
    one, three = (learn(model, x, y, bp.DualPropagation(0.0, passes=n)) for n in (1, 3))
    torch.testing.assert_close(one, three)
    one, three = (learn(model, x, y, bp.DualPropagation(0.5, passes=n)) for n in (1, 3))
    assert not torch.allclose(one["0.weight"], three["0.weight"], rtol=1e-4)


def test_both_states_have_the_dropout_of_the_forward_pass():
    """Units that it dropped learn nothing, and with a small nudge all is as in backprop."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Dropout(0.2), nn.Linear(6, 30), nn.Dropout(0.3), nn.Tanh(), nn.Dropout(0.5)),
        *(nn.Linear(30, 20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, 3)),
    ).double()
    x, y = batch_for([6, 3], 3)
    found = []
    for rule in (None, bp.DualPropagation(nudge=1e-4, passes=1), bp.DualPropagation(0.5, 1e-4, 2)):
        torch.manual_seed(1)
        found.append(learn(model, x, y, rule))
    assert any(not column.any() for column in found[0]["8.weight"].t())
    for name, exact in found[0].items():
        torch.testing.assert_close(found[1][name], exact, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(found[2][name], exact, rtol=1e-5, atol=1e-8)


def test_dropout_behind_a_pooling():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv1d(1, 4, 3), nn.Tanh(), nn.MaxPool1d(2), nn.Dropout(0.5), nn.Flatten()),
        nn.Linear(12, 3),
    ).double()
    x, y = torch.randn(3, 1, 8, dtype=torch.float64), torch.arange(3)
    found = []
    for rule in (None, bp.DualPropagation(nudge=1e-4)):
        torch.manual_seed(1)
        found.append(learn(model, x, y, rule))
    for name, exact in found[0].items():
        torch.testing.assert_close(found[1][name], exact, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("passes", [1, 2])
def test_activations_in_place_change_nothing(passes):
    x, y = torch.randn(3, 1, 8, dtype=torch.float64), torch.arange(3)
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv1d(1, 4, 3), nn.ELU(inplace=inplace), nn.MaxPool1d(2)),
            *(nn.ELU(inplace=inplace), nn.Conv1d(4, 2, 2), nn.ELU(inplace=inplace), nn.Flatten()),
            nn.Linear(4, 3),
        ).double()
        found.append(learn(model, x, y, bp.DualPropagation(passes=passes)))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_a_layer_used_twice_adds_up_what_it_learns():
    twice = nn.Linear(3, 3)
    model = nn.Sequential(twice, nn.Tanh(), twice, nn.Tanh(), nn.Linear(3, 2)).double()
    apart = mlp([3, 3, 3, 2])
    for i, name in ((0, 0), (2, 0), (4, 4)):
        apart[i].load_state_dict(model[name].state_dict())
    x, y = batch_for([3, 3, 3, 2])
    found = learn(model, x, y, bp.DualPropagation())
    expected = learn(apart, x, y, bp.DualPropagation())
    torch.testing.assert_close(found["0.weight"], expected["0.weight"] + expected["2.weight"])


def test_layers_that_do_not_learn_have_states_all_the_same():
    x, y = batch_for(WIDTHS)
    expected = learn(mlp(WIDTHS), x, y, bp.DualPropagation())
    model = mlp(WIDTHS)
    model[2].requires_grad_(False)
    bp.attach(model, bp.DualPropagation())
    F.cross_entropy(model(x), y).backward()
    assert model[2].weight.grad is None
    for name in ("0.weight", "4.weight"):
        found = model.get_parameter(name).grad
        torch.testing.assert_close(found, expected[name], rtol=0, atol=0)


def test_directions_are_nearly_those_of_the_gradient():
    model, (x, y) = mlp(WIDTHS), batch_for(WIDTHS)
    handle = bp.attach(model, bp.DualPropagation())
    found = alignment(handle, x, y, F.cross_entropy)
    assert len(found) == 3
    assert min(found.values()) > 0.99


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (CASE["residual"].build, "Residual is not an nn.Sequential"),
        (CASE["norms"].build, r"'1' \(LayerNorm\) is none of these"),
        (CASE["shared-activation"].build, r"'5' \(Tanh\) follows the last layer"),
    ],
    ids=["wiring", "norm", "end"],
)
def test_all_but_plain_chains_are_refused_in_one_sentence(build, reason):
    said = f"^cannot attach: DualPropagation teaches chains .*{reason}"
    with pytest.raises(bp.AttachError, match=said):
        bp.attach(build(), bp.DualPropagation())


def test_the_input_must_be_one_tensor_of_floats():
    model = nn.Sequential(nn.Linear(3, 2))
    bp.attach(model, bp.DualPropagation())
    with pytest.raises(bp.UserError, match="whose input is one tensor of floats"):
        model(torch.ones(2, 3, dtype=torch.int64))
