"""Rules that need no backward pass through the network, against their slow references."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.teaching import plain_gradients, taught
from tests.modules import CASE
from tests.reference import forward_gradient, local_forward_gradient, network, pepita
from torch import nn

import beyondprop as bp
from beyondprop.random.streams import stream_of

LIKE = torch.zeros(1, dtype=torch.float64)
CLOSE = {"rtol": 1e-9, "atol": 1e-12}

nets = {
    "widths": st.lists(st.integers(2, 5), min_size=2, max_size=5),
    "rows": st.integers(1, 4),
    "seed": st.integers(0, 2**16),
}


def mlp(widths, seed=0):
    torch.manual_seed(seed)
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def batch_for(widths, rows):
    x = torch.randn(rows, widths[0], dtype=torch.float64)
    return x, torch.randint(0, widths[-1], (rows,))


def arrays(model):
    """Return the weights and the biases."""
    linears = [module for module in model if isinstance(module, nn.Linear)]
    weights = [linear.weight.detach().numpy() for linear in linears]
    return weights, [linear.bias.detach().numpy() for linear in linears]


def samples(x, y):
    return list(zip(x.numpy(), y.tolist(), strict=True))


def compare(model, expected):
    linears = [module for module in model if isinstance(module, nn.Linear)]
    for linear, (weight, bias) in zip(linears, expected, strict=True):
        np.testing.assert_allclose(linear.weight.grad.numpy(), weight, **CLOSE)
        np.testing.assert_allclose(linear.bias.grad.numpy(), bias, **CLOSE)


def directions(model, rule, number):
    """Return by name the direction that a pass draws."""
    return {n: rule.direction(n, p.detach(), number) for n, p in model.named_parameters()}


def learn(model, handle, x, y):
    """Return the gradients of one pass."""
    for parameter in (*model.parameters(), *handle.parameters()):
        parameter.grad = None
    with handle.targets(y):
        F.cross_entropy(model(x), y).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters()}


@settings(max_examples=20, deadline=None)
@given(**nets)
def test_forward_gradients_equal_the_reference(widths, rows, seed):
    model, rule = mlp(widths, seed), bp.rules.make("fg", seed)
    x, y = batch_for(widths, rows)
    learn(model, bp.attach(model, rule), x, y)
    drawn = [v.numpy() for v in directions(model, rule, 1).values()]
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    compare(model, forward_gradient.gradients(*arrays(model), samples(x, y), pairs))


@pytest.mark.parametrize(
    "name",
    ["convnet", "transformer-layer", "residual", "lstmcell", "tuple-output", "tied-in-block"],
)
def test_forward_gradients_are_the_slope_times_the_direction(name):
    case, rule = CASE[name], bp.ForwardGradient()
    plain, model = plain_gradients(case), case.fresh()
    bp.attach(model, rule)
    taught(case, model, case.batch()).backward()
    drawn = directions(model, rule, 1)
    slope = sum((plain[n] * v).sum() for n, v in drawn.items())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, slope * drawn[name], rtol=1e-3, atol=1e-5)


def test_forward_gradients_have_no_bias_and_the_variance_that_is_said():
    model = mlp([2, 3, 2])
    x, y = batch_for([2, 3, 2], 4)
    F.cross_entropy(model(x), y).backward()
    true = torch.cat([p.grad.flatten() for p in model.parameters()])
    handle = bp.attach(model, bp.ForwardGradient())
    passes = 800
    found = torch.stack(
        [
            torch.cat([g.flatten() for g in learn(model, handle, x, y).values()])
            for _ in range(passes)
        ]
    )
    count = true.numel()
    assert (found.mean(0) - true).norm() < 2 * ((count + 1) / passes) ** 0.5 * true.norm()
    spread = (found - true).square().sum(1).mean() / true.square().sum()
    assert spread == pytest.approx(count + 1, rel=0.25)


def test_a_direction_belongs_to_a_pass_in_training_mode():
    model = mlp([3, 4, 2])
    x, y = batch_for([3, 4, 2], 2)
    handle = bp.attach(model, bp.ForwardGradient())
    first, second = learn(model, handle, x, y), learn(model, handle, x, y)
    assert not torch.equal(first["0.weight"], second["0.weight"])
    model.eval()
    first, second = learn(model, handle, x, y), learn(model, handle, x, y)
    assert torch.equal(first["0.weight"], second["0.weight"])


@settings(max_examples=20, deadline=None)
@given(**{**nets, "widths": st.lists(st.integers(2, 5), min_size=3, max_size=5)})
def test_local_forward_gradients_equal_the_reference(widths, rows, seed):
    model, rule = mlp(widths, seed), bp.rules.make("lfg", seed)
    x, y = batch_for(widths, rows)
    handle = bp.attach(model, rule)
    learn(model, handle, x, y)
    state, heads, noises = handle.state_dict(), [], []
    for block, width in zip(handle.blocks[:-1], widths[1:-1], strict=True):
        parts = ("weight", "bias")
        heads.append([state[f"{block.name}.classifier.{part}"].numpy() for part in parts])
        stream = stream_of(f"{block.stream}, pass 1")
        noises.append(rule.noise.matrix(rows * width, 1, stream, LIKE).view(rows, width).numpy())
    weights, biases = arrays(model)
    made = local_forward_gradient.deltas(heads, noises)
    compare(model, network.outer_products(weights, biases, samples(x, y), made))
    states = [network.forward(weights, biases, each) for each in x.numpy()]
    found = handle.parameters()
    for i, head in enumerate(heads):
        outputs = [of_sample[i + 1] for of_sample in states]
        expected = local_forward_gradient.head_gradients(head, outputs, y.tolist())
        for parameter, gradient in zip(found[2 * i : 2 * i + 2], expected, strict=True):
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, **CLOSE)


def test_local_forward_gradients_are_those_of_the_local_loss_on_average():
    """Every sample has noise of its own, so the mean over copies of a sample is near the truth."""
    x, y = batch_for([3, 4, 3, 2], 4)
    copies = 5000
    x, y = x.repeat(copies, 1), y.repeat(copies)
    exact, model = mlp([3, 4, 3, 2]), mlp([3, 4, 3, 2])
    handles = (
        bp.attach(exact, bp.LocalLoss(bp.CrossEntropy())),
        bp.attach(model, bp.LocalForwardGradient()),
    )
    true, found = learn(exact, handles[0], x, y), learn(model, handles[1], x, y)
    for name, gradient in true.items():
        assert (found[name] - gradient).norm() < 0.1 * gradient.norm(), name
        assert torch.equal(found[name], gradient) == name.startswith("4")
    for mine, its in zip(*(handle.parameters() for handle in handles), strict=True):
        torch.testing.assert_close(mine.grad, its.grad)


@pytest.mark.parametrize("name", ["mlp", "elman"])
def test_rows_that_the_loss_leaves_out_change_nothing_for_the_others(name):
    case = CASE[name]
    (x,), y = case.batch().inputs, case.classes().clone()
    y[-1] = -100
    found = []
    for rows in (len(x), len(x) - 1):
        model = case.fresh()
        # The beginning of a longer draw is a shorter one.
        handle = bp.attach(model, bp.LocalForwardGradient(noise=bp.Dense()))
        with handle.targets(y[:rows]):
            logits = model(x[:rows]).flatten(0, -2)
        F.cross_entropy(logits, y[:rows].flatten()).backward()
        found.append([p.grad for p in (*model.parameters(), *handle.parameters())])
    torch.testing.assert_close(found[0], found[1])


def test_blocks_learn_by_local_forward_gradients_inside_the_forward_pass():
    x, y = batch_for([3, 4, 3, 2], 4)
    after = []
    for schedule in (None, bp.Immediate):
        model = mlp([3, 4, 3, 2])
        handle = bp.attach(model, bp.LocalForwardGradient())
        with torch.no_grad():
            model(x)
        optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.1)
        handle.follow(None if schedule is None else schedule(optimizer))
        for _ in range(3):
            with handle.targets(y):
                loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        after.append({**model.state_dict(), **handle.state_dict()})
    torch.testing.assert_close(after[1], after[0])


@pytest.mark.parametrize(
    "objective", [bp.SimilarityMatching(), bp.CrossEntropy(auxiliary=bp.AugLocal())]
)
def test_local_forward_gradients_are_for_one_linear_layer(objective):
    with pytest.raises(bp.UserError, match="its objective must be CrossEntropy"):
        bp.LocalForwardGradient(objective)


def feedback(rule, inputs, classes):
    """Return F, of shape (inputs, classes)."""
    drawn = rule.projection.matrix(classes, inputs, rule.projection.stream(stream_of("")), LIKE)
    return drawn.numpy().T * rule.scale * 2**0.5


@settings(max_examples=20, deadline=None)
@given(**nets)
def test_pepita_equals_the_reference(widths, rows, seed):
    model, rule = mlp(widths, seed), bp.PEPITA(bp.Dense(seed), scale=1.0)
    x, y = batch_for(widths, rows)
    learn(model, bp.attach(model, rule), x, y)
    matrix = feedback(rule, widths[0], widths[-1])
    compare(model, pepita.gradients(*arrays(model), samples(x, y), matrix))


def test_pepita_in_convolutions_equals_the_reference():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, 2, padding=1), nn.Tanh(), nn.MaxPool2d(2)),
        nn.Conv2d(3, 4, 2),
        nn.Flatten(),
        nn.Sigmoid(),
        nn.Linear(4, 3),
    ).double()
    x, y = torch.randn(5, 2, 3, 3, dtype=torch.float64), torch.randint(0, 3, (5,))
    logits = model(x)
    error = (logits.softmax(1) - F.one_hot(y, 3)).detach()
    rule = bp.PEPITA(scale=1.0)
    changed = x + (error @ torch.from_numpy(feedback(rule, 18, 3)).t()).view(x.shape)
    found = learn(model, bp.attach(model, rule), x, y)
    with torch.no_grad():
        (first, then), (kernel, dense) = model[0][:2], (model[1], model[4])
        pool, act = model[0][2], torch.sigmoid
        h1, e1 = then(first(x)), then(first(changed))
        h2, e2 = act(kernel(pool(h1))), act(kernel(pool(e1)))
    for layer, name, args in (
        (first, "0.0", (h1, e1, changed, [1, 1])),
        (kernel, "1", (h2, e2, pool(e1), [0, 0])),
    ):
        *tensors, padding = args
        before, after, inputs = (t.numpy() for t in tensors)
        weight = layer.weight.detach().numpy()
        expected = pepita.of_convolution(weight, before, after, inputs, padding)
        np.testing.assert_allclose(found[f"{name}.weight"].numpy(), expected[0], **CLOSE)
        np.testing.assert_allclose(found[f"{name}.bias"].numpy(), expected[1], **CLOSE)
    torch.testing.assert_close(found["4.weight"], error.t() @ e2.flatten(1) / 5)
    torch.testing.assert_close(found["4.bias"], error.mean(0))
    assert dense.weight.grad is not None


def test_pepita_without_modulation_teaches_the_last_layer_exactly_and_no_other():
    x, y = batch_for([3, 4, 3, 2], 4)
    exact, model = mlp([3, 4, 3, 2]), mlp([3, 4, 3, 2])
    true = learn(exact, bp.attach(exact, bp.Backprop()), x, y)
    found = learn(model, bp.attach(model, bp.PEPITA(scale=0.0)), x, y)
    for name in ("4.weight", "4.bias"):
        torch.testing.assert_close(found[name], true[name])
    assert not any(found[name].any() for name in found if not name.startswith("4"))


def test_pepita_uses_the_same_dropout_in_both_passes():
    """Without modulation nothing may differ between the passes but what is dropped."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 50),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(50, 40),
        nn.Dropout(0.3),
        nn.Linear(40, 2),
    )
    x, y = torch.randn(4, 3), torch.randint(0, 2, (4,))
    torch.manual_seed(1)
    plain = model(x)
    handle = bp.attach(model, bp.PEPITA(scale=0.0))
    torch.manual_seed(1)
    torch.testing.assert_close(model(x), plain)
    found = learn(model, handle, x, y)
    assert not found["0.weight"].any()
    assert not found["3.weight"].any()
    assert found["5.weight"].any()


def test_pepita_adds_up_what_a_layer_learns_where_it_is_used_twice():
    twice = nn.Linear(3, 3)
    model = nn.Sequential(twice, nn.Tanh(), twice, nn.Tanh(), nn.Linear(3, 2)).double()
    apart = mlp([3, 3, 3, 2])
    for i, name in ((0, 0), (2, 0), (4, 4)):
        apart[i].load_state_dict(model[name].state_dict())
    x, y = batch_for([3, 3, 3, 2], 4)
    found = learn(model, bp.attach(model, bp.PEPITA()), x, y)
    expected = learn(apart, bp.attach(apart, bp.PEPITA()), x, y)
    both = expected["0.weight"] + expected["2.weight"]
    torch.testing.assert_close(found["0.weight"], both)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (CASE["residual"].build, "Residual is not an nn.Sequential"),
        (CASE["norms"].build, r"'1' \(LayerNorm\) is none of these"),
        (CASE["shared-activation"].build, r"'5' \(Tanh\) follows the last layer"),
        (
            lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)),
            "'0' would modify the input in place",
        ),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Softmax(1), nn.Linear(3, 2)), "none of these"),
    ],
    ids=["wiring", "norm", "end", "in-place", "softmax"],
)
def test_pepita_refuses_all_but_plain_chains_in_one_sentence(build, reason):
    with pytest.raises(bp.AttachError, match=f"^cannot attach: PEPITA teaches chains .*{reason}"):
        bp.attach(build(), bp.PEPITA())


def test_pepita_needs_one_tensor_of_floats():
    model = nn.Sequential(nn.Linear(3, 2))
    bp.attach(model, bp.PEPITA())
    with pytest.raises(bp.UserError, match="whose input is one tensor of floats"):
        model(torch.ones(2, 3, dtype=torch.int64))


def test_a_batch_without_any_class_teaches_hidden_blocks_nothing():
    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 4))
    handle = bp.attach(model, bp.LocalForwardGradient())
    with handle.targets(torch.full((5,), -1)):
        model(torch.randn(5, 8)).sum().backward()
    assert not model[0].weight.grad.any()
