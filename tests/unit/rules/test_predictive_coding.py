"""Predictive coding against its slow reference, and what is known of it."""

import itertools
import json

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.modules import CASE
from tests.reference import predictive_coding as reference
from tests.unit.rules.test_forward_rules import CLOSE, arrays, batch_for, compare, mlp, samples
from torch import nn

import beyondprop as bp
from beyondprop.rules.model.predictive_coding import Energy, MaskedLayer
from beyondprop.rules.model.second_pass import Masks
from beyondprop.shapes import FEATURES

FORMS = [bp.PredictiveCoding, bp.ErrorPredictiveCoding]
forms = pytest.mark.parametrize("form", FORMS, ids=["pc", "epc"])

nets = {
    "widths": st.lists(st.integers(2, 5), min_size=2, max_size=5),
    "rows": st.integers(1, 4),
    "seed": st.integers(0, 2**16),
    "steps": st.integers(3, 6),  # one for each hidden layer at the least
    "rate": st.sampled_from([0.05, 0.3, 1.0]),
}


def learn(model, rule, x, y, loss=F.cross_entropy):
    """Return the gradients of one pass, by the parameters' names."""
    handle = bp.attach(model, rule)
    loss(model(x), y).backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    handle.remove()
    return found


def chain():
    """Return a net with convolutions, pooling, flattening and a layer before the first weight."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Identity(),
        nn.Sequential(nn.Conv2d(2, 3, 2, padding=1), nn.Tanh(), nn.MaxPool2d(2)),
        nn.Conv2d(3, 4, 2),
        nn.Flatten(),
        nn.Sigmoid(),
        nn.Linear(4, 3),
    ).double()


def images():
    torch.manual_seed(1)
    return torch.randn(5, 2, 3, 3, dtype=torch.float64), torch.randint(0, 3, (5,))


@settings(max_examples=25, deadline=None)
@given(**nets, fixed=st.booleans())
def test_gradients_equal_the_reference(widths, rows, seed, steps, rate, fixed):
    model = mlp(widths, seed)
    x, y = batch_for(widths, rows)
    rule = bp.PredictiveCoding(steps, rate, fixed_predictions=fixed)
    bp.attach(model, rule)
    F.cross_entropy(model(x), y).backward()
    weights, biases = arrays(model)

    def infer(x, target):
        return reference.infer_states(weights, biases, x, target, rate, steps, fixed)

    compare(model, reference.gradients(weights, biases, samples(x, y), infer, fixed))


@settings(max_examples=25, deadline=None)
@given(**nets)
def test_gradients_of_the_error_form_equal_the_reference(widths, rows, seed, steps, rate):
    model = mlp(widths, seed)
    x, y = batch_for(widths, rows)
    bp.attach(model, bp.ErrorPredictiveCoding(steps, rate))
    F.cross_entropy(model(x), y).backward()
    weights, biases = arrays(model)

    def infer(x, target):
        return reference.infer_errors(weights, biases, x, target, rate, steps)

    compare(model, reference.gradients(weights, biases, samples(x, y), infer))


def energy(stages, states, y):
    """Return the energy of a batch, summed over its samples."""
    predicted = [stage(h) for stage, h in zip(stages, states, strict=True)]
    pairs = zip(states[1:], predicted[:-1], strict=True)
    squares = sum((h - p).square().sum() for h, p in pairs) / 2
    return squares + F.cross_entropy(predicted[-1], y, reduction="sum")


def settle(stages, x, y, steps, rate):
    """Return the states after inference by plain autograd on the energy."""
    states = [x]
    for stage in stages[:-1]:
        states.append(stage(states[-1]).detach())
    for _ in range(steps):
        free = [h.clone().requires_grad_() for h in states[1:]]
        slopes = torch.autograd.grad(energy(stages, [x, *free], y), free)
        states = [x, *[(h - rate * s).detach() for h, s in zip(free, slopes, strict=True)]]
    return states


def settle_errors(stages, x, y, steps, rate):
    """Return the states after inference by plain autograd on the errors."""

    def states(errors):
        found = [x]
        for i, stage in enumerate(stages[:-1]):
            predicted = stage(found[-1])
            found.append(predicted if errors is None else predicted + errors[i])
        return found

    errors = [torch.zeros_like(h) for h in states(None)[1:]]
    for _ in range(steps):
        free = [e.clone().requires_grad_() for e in errors]
        loss = F.cross_entropy(stages[-1](states(free)[-1]), y, reduction="sum")
        slopes = torch.autograd.grad(loss + sum(e.square().sum() for e in free) / 2, free)
        errors = [(e - rate * s).detach() for e, s in zip(free, slopes, strict=True)]
    return [h.detach() for h in states(errors)]


def stages_of(model):
    """Return the stages of the net that `chain` builds."""
    return [nn.Sequential(*model[:2]), nn.Sequential(*model[2:5]), model[5]]


@pytest.mark.parametrize(
    ("rule", "inference"),
    [(bp.PredictiveCoding(3, 0.3), settle), (bp.ErrorPredictiveCoding(3, 0.3), settle_errors)],
    ids=["pc", "epc"],
)
def test_in_convolutions_gradients_are_those_of_the_energy(rule, inference):
    (x, y), model = images(), chain()
    found = learn(model, rule, x, y)
    states = inference(stages_of(model), x, y, 3, 0.3)
    (energy(stages_of(model), states, y) / len(x)).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, **CLOSE)


@forms
def test_inference_lowers_the_energy_at_every_step(form):
    (x, y), model = images(), chain()
    stages = [MaskedLayer(list(part), Masks()) for part in stages_of(model)[:-1]]
    stages.append(MaskedLayer([model[5]], Masks()))
    net = Energy(stages, x, F.one_hot(y, 3).double(), bp.CategoricalOutput(), FEATURES)
    found = []
    for steps in range(1, 11):
        states, _ = form(steps, 0.1).infer(net)
        found.append(energy(stages_of(model), states, y).item())
    assert all(after < before for before, after in itertools.pairwise(found))


def test_steps_that_do_not_reach_the_first_layer_are_refused():
    with pytest.raises(
        bp.UserError, match="steps=1 it does not reach the first of 2 hidden layers"
    ):
        bp.attach(chain(), bp.PredictiveCoding(steps=1))


def test_fixed_predictions_equal_backprop_once_the_error_is_at_the_first_layer():
    (x, y), model = images(), chain()
    exact = learn(model, bp.Backprop(), x, y)
    rule = bp.PredictiveCoding(steps=2, rate=1.0, fixed_predictions=True)
    found = learn(model, rule, x, y)
    for name in exact:
        torch.testing.assert_close(found[name], exact[name], **CLOSE)


@pytest.mark.parametrize(("rate", "steps"), [(1.0, 1), (0.2, 1), (0.2, 5)])
def test_small_errors_are_backprop_times_one_minus_what_inference_left(rate, steps):
    """To first order ``ε = -(1 - (1 - γ)^T) ∂loss/∂h`` of the error form."""
    (x, _), model = images(), chain()
    with torch.no_grad():
        model[5].bias += torch.tensor([0.0, 16.0, 0.0])  # the loss of the second class is near 0
    y = torch.ones(len(x), dtype=torch.int64)
    exact = learn(model, bp.Backprop(), x, y)
    found = learn(model, bp.ErrorPredictiveCoding(steps, rate), x, y)
    settled = learn(model, bp.PredictiveCoding(steps=300, rate=0.2), x, y)
    for name in ("1.0.weight", "1.0.bias", "2.weight", "2.bias"):
        assert exact[name].abs().max() > 1e-11
        small = {"rtol": 1e-4, "atol": 1e-13}
        torch.testing.assert_close(found[name], (1 - (1 - rate) ** steps) * exact[name], **small)
        torch.testing.assert_close(settled[name], exact[name], **small)


def test_both_forms_are_one_with_a_single_hidden_layer_and_in_equilibrium():
    shallow = mlp([3, 4, 3])
    x, y = batch_for([3, 4, 3], 4)
    for steps in (1, 4):
        found = [learn(shallow, form(steps, 0.3), x, y) for form in FORMS]
        torch.testing.assert_close(found[0], found[1], **CLOSE)
    (x, y), deep = images(), chain()
    early = [learn(deep, form(4, 0.3), x, y)["1.0.weight"] for form in FORMS]
    assert not torch.allclose(*early)
    late = [learn(deep, form(400, 0.3), x, y) for form in FORMS]
    torch.testing.assert_close(late[0], late[1], **CLOSE)


def gaussian(model, form):
    """Return what a squared error teaches a linear net, and its inference's equilibrium."""
    x, t = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    rule = form(4000, 0.1, bp.GaussianOutput(variance=1.0))  # F.mse_loss of two outputs
    found = learn(model, rule, x, t, F.mse_loss)
    w1, w2 = model[0].weight.detach(), model[1].weight.detach()
    residual = t - x @ w1.t() @ w2.t()  # (rows, outputs)
    covariance = torch.eye(2, dtype=torch.float64) + w2 @ w2.t()
    return found, -torch.linalg.solve(covariance, residual.t()).t(), x


@forms
def test_a_squared_error_has_the_known_equilibrium_in_linear_nets(form):
    """``∂F/∂p_2 = -S⁻¹ r`` and ``ε_1 = W_2ᵀ S⁻¹ r`` with ``S = I + W_2 W_2ᵀ``, r the residual."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)).double()
    found, delta, x = gaussian(model, form)
    w1, w2 = model[0].weight.detach(), model[1].weight.detach()
    error = -delta @ w2  # (rows, hidden)
    torch.testing.assert_close(found["0.weight"], -error.t() @ x / 4, **CLOSE)
    torch.testing.assert_close(found["1.weight"], delta.t() @ (x @ w1.t() + error) / 4, **CLOSE)


@forms
def test_tokens_are_rows(form):
    x, y = batch_for([3, 4, 3], 6)
    model = mlp([3, 4, 3])
    rows = learn(model, form(), x, y)

    def loss(output, targets):
        return F.cross_entropy(output.flatten(0, 1), targets)

    found = learn(model, form(), x.view(2, 3, 3), y, loss)
    torch.testing.assert_close(found, rows, **CLOSE)


@forms
def test_positions_of_a_convolution_are_rows(form):
    """A convolution of one pixel is a linear layer for each position."""
    x, y = batch_for([3, 4, 3], 6)
    model = mlp([3, 4, 3])
    rows = learn(model, form(), x, y)
    convolved = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Tanh(), nn.Conv1d(4, 3, 1)).double()
    for name, parameter in convolved.named_parameters():
        parameter.data = model.get_parameter(name).data.view(parameter.shape)
    found = learn(convolved, form(), x.view(2, 3, 3).mT, y.view(2, 3))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient.view_as(rows[name]), rows[name], **CLOSE)


@forms
def test_one_sample_without_a_batch(form):
    x, y = batch_for([3, 4, 3], 1)
    model = mlp([3, 4, 3])
    expected = learn(model, form(), x, y)
    torch.testing.assert_close(learn(model, form(), x[0], y[0]), expected, **CLOSE)


@forms
def test_inference_uses_the_dropout_masks_of_the_forward_pass(form):
    """Fixed masks make another net without dropout: columns of the next weights set to zero."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Dropout(0.4), nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)
    ).double()
    x, y = batch_for([3, 8, 3], 1)
    torch.manual_seed(1)
    masks = [model[0](torch.ones_like(x)), model[3](torch.ones(1, 8, dtype=torch.float64))]
    torch.manual_seed(1)
    found = learn(model, form(), x, y)
    dropped = nn.Sequential(nn.Linear(3, 8), Masked(masks[1]), nn.Linear(8, 3)).double()
    dropped[0].load_state_dict(model[1].state_dict())
    dropped[2].load_state_dict(model[4].state_dict())
    infer = settle if form is bp.PredictiveCoding else settle_errors
    rule, stages = form(), [dropped[:2], dropped[2]]
    states = infer(stages, x * masks[0], y, rule.steps, rule.rate)
    energy(stages, states, y).backward()
    torch.testing.assert_close(found["1.weight"], dropped[0].weight.grad, **CLOSE)
    torch.testing.assert_close(found["4.weight"], dropped[2].weight.grad, **CLOSE)


class Masked(nn.Module):
    """Tanh and a fixed dropout mask."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        return torch.tanh(x) * self.mask


@forms
def test_a_layer_that_is_used_twice_learns_the_sum(form):
    twice = nn.Linear(3, 3)
    model = nn.Sequential(twice, nn.Tanh(), twice, nn.Tanh(), nn.Linear(3, 2)).double()
    apart = mlp([3, 3, 3, 2])
    for i, name in ((0, 0), (2, 0), (4, 4)):
        apart[i].load_state_dict(model[name].state_dict())
    x, y = batch_for([3, 3, 3, 2], 4)
    found, expected = learn(model, form(), x, y), learn(apart, form(), x, y)
    both = expected["0.weight"] + expected["2.weight"]
    torch.testing.assert_close(found["0.weight"], both, **CLOSE)
    tied = mlp([3, 3, 3, 2])
    tied.load_state_dict(apart.state_dict())
    tied[2].weight = tied[0].weight
    torch.testing.assert_close(learn(tied, form(), x, y)["0.weight"], both, **CLOSE)


@forms
def test_a_cross_entropy_that_is_no_mean_is_refused(form):
    x, y = batch_for([3, 4, 3], 4)

    def summed(output, targets):
        return F.cross_entropy(output, targets, reduction="sum")

    with pytest.raises(bp.UserError, match="too large for a mean cross-entropy"):
        learn(mlp([3, 4, 3]), form(), x, y, summed)


@forms
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_any_mean_cross_entropy_is_the_loss_during_inference(form, smoothing):
    y = torch.tensor([0, 1, 2, 1])
    soft = torch.rand(4, 3, dtype=torch.float64).softmax(1)
    for targets in (y, soft):
        probabilities = F.one_hot(y, 3).double() if targets is y else soft
        smoothed = (1 - smoothing) * probabilities + smoothing / 3
        output = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
        loss = F.cross_entropy(output, targets, label_smoothing=smoothing)
        (error,) = torch.autograd.grad(loss, output)
        found = form().output.target(output.detach(), error * 4)
        torch.testing.assert_close(found, smoothed, **CLOSE)


@forms
@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (CASE["residual"].build, "Residual is not an nn.Sequential"),
        (CASE["norms"].build, r"'1' \(LayerNorm\) is none of these"),
        (
            lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)),
            r"'1' \(BatchNorm1d\) is none of these",
        ),
    ],
    ids=["wiring", "norm", "batch-norm"],
)
def test_all_but_plain_chains_are_refused_in_one_sentence(form, build, reason):
    said = f"^cannot attach: {form.__name__} teaches chains .*{reason}"
    with pytest.raises(bp.AttachError, match=said):
        bp.attach(build(), form())


@forms
def test_the_input_is_one_tensor_of_floats(form):
    model = nn.Sequential(nn.Linear(3, 2))
    bp.attach(model, form())
    with pytest.raises(bp.UserError, match=f"{form.__name__} takes .* one tensor of floats"):
        model(torch.ones(2, 3, dtype=torch.int64))


@forms
def test_settings_are_json(form):
    found = json.loads(json.dumps(form(output=bp.GaussianOutput(2.0)).settings()))
    assert found["output"] == {"name": "gaussian", "variance": 2.0}
    assert found["rule"] == form.name


@forms
def test_an_empty_batch_teaches_nothing(form):
    model = mlp([4, 5, 3], 0)
    bp.attach(model, form())
    empty = torch.zeros(0, 4, dtype=torch.float64)
    F.cross_entropy(model(empty), torch.zeros(0, dtype=torch.long), reduction="sum").backward()
    assert all(not p.grad.any() for p in model.parameters())


def test_an_error_that_overflows_is_left_to_the_scaler():
    error = torch.tensor([[torch.inf, 0.0]])
    assert not bp.CategoricalOutput().target(torch.zeros(1, 2), error).isfinite().all()
