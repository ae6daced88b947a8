"""Difference target propagation against its slow reference, and what is known of it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.modules import CASE
from tests.reference import difference_target_propagation as dtp
from tests.reference.network import forward, outer_products
from torch import nn

import beyondprop as bp
from beyondprop.random.streams import stream_of

LIKE = torch.zeros(1, dtype=torch.float64)
CLOSE = {"rtol": 1e-9, "atol": 1e-12}
WIDTHS = [3, 4, 2, 5, 3]


def mlp(widths, activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1]).double()


def batch_for(widths, rows=6):
    x = torch.randn(rows, widths[0], dtype=torch.float64)
    return x, torch.arange(rows) % widths[-1]


def linears_of(model):
    return [module for module in model if isinstance(module, nn.Linear)]


def clear(model, handle):
    for parameter in (*model.parameters(), *handle.parameters()):
        parameter.grad = None


def learn(model, handle, x, y):
    """Return the gradients of the model's parameters for the mean cross-entropy of a batch."""
    clear(model, handle)
    F.cross_entropy(model(x), y).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def inverses_of(handle):
    """Return V and c of each block that has an inverse, as parameters."""
    own = handle.parameters()
    return list(zip(own[::2], own[1::2], strict=True))


def random_inverses(handle):
    with torch.no_grad():
        for parameter in handle.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)


def attached(widths=None, activation=nn.Tanh, **options):
    """Return a model whose inverses are made and random, its handle and a batch."""
    widths = widths or WIDTHS
    model = mlp(widths, activation)
    handle = bp.attach(model, bp.DifferenceTargetPropagation(**options))
    x, y = batch_for(widths)
    model(x)
    random_inverses(handle)
    return model, handle, x, y


@settings(max_examples=25, deadline=None)
@given(
    widths=st.lists(st.integers(2, 5), min_size=3, max_size=6),
    rows=st.integers(1, 4),
    seed=st.integers(0, 2**16),
    rate=st.sampled_from([1e-2, 0.7, 3.0]),
    sigma=st.sampled_from([0.0, 0.3]),
)
def test_all_gradients_equal_the_reference(widths, rows, seed, rate, sigma):
    model = mlp(widths, seed=seed)
    rule = bp.DifferenceTargetPropagation(
        bp.Dense(seed), rate=rate, sigma=sigma, noise=bp.projections.Redrawn(seed)
    )
    handle = bp.attach(model, rule)
    x, y = batch_for(widths, rows)
    model(x)
    random_inverses(handle)
    learn(model, handle, x, y)

    linears = linears_of(model)
    weights = [linear.weight.detach().numpy() for linear in linears]
    biases = [linear.bias.detach().numpy() for linear in linears]
    made = [(v.detach().numpy(), c.detach().numpy()) for v, c in inverses_of(handle)]
    batch = list(zip(x.numpy(), y.tolist(), strict=True))
    deltas = dtp.deltas(weights[-1], dtp.functions(made), rate)
    expected = outer_products(weights, biases, batch, deltas)
    for linear, (weight, bias) in zip(linears, expected, strict=True):
        np.testing.assert_allclose(linear.weight.grad.numpy(), weight, **CLOSE)
        np.testing.assert_allclose(linear.bias.grad.numpy(), bias, **CLOSE)

    noise = [noise_of(rule, block, rows, width) for block, width in inverted(handle, widths)]
    states = [forward(weights, biases, sample) for sample in x.numpy()]
    expected = dtp.inverse_gradients(weights, biases, made, states, noise)
    assert len(expected) == len(widths) - 3
    for (v, c), (weight, bias) in zip(inverses_of(handle), expected, strict=True):
        np.testing.assert_allclose(v.grad.numpy(), weight, **CLOSE)
        np.testing.assert_allclose(c.grad.numpy(), bias, **CLOSE)


def inverted(handle, widths):
    """Return the blocks that have an inverse, each with the width of its input."""
    return zip(handle.blocks[1:-1], widths[1:-2], strict=True)


def noise_of(rule, block, rows, width, number=2):
    stream = stream_of(f"{block.stream}, pass {number}, inverse")
    return rule.noise.matrix(rows, width, stream, LIKE).numpy() * rule.sigma * width**0.5


def exact(model, x, y):
    handle = bp.attach(model, bp.Backprop())
    found = learn(model, handle, x, y)
    handle.remove()
    return found


def test_with_one_hidden_block_it_is_backprop():
    model = mlp([3, 4, 2])
    x, y = batch_for([3, 4, 2])
    expected = exact(model, x, y)
    handle = bp.attach(model, bp.DifferenceTargetPropagation())
    assert not handle.parameters()
    torch.testing.assert_close(learn(model, handle, x, y), expected, rtol=0, atol=0)


def test_with_two_hidden_blocks_the_first_alone_differs_from_backprop():
    model, handle, x, y = attached([3, 4, 5, 2])
    found = learn(model, handle, x, y)
    handle.remove()
    expected = exact(model, x, y)
    differs = [name for name in found if not torch.equal(found[name], expected[name])]
    assert differs == ["0.weight", "0.bias"]


@pytest.mark.parametrize("rate", [1e-2, 1.0, 30.0])
def test_transposed_weights_as_inverses_of_linear_blocks_make_it_backprop(rate):
    model, handle, x, y = attached(activation=nn.Identity, rate=rate)
    expected = {n: g.clone() for n, g in exact_beside(model, handle, x, y).items()}
    with torch.no_grad():
        for (v, _), linear in zip(inverses_of(handle), linears_of(model)[1:], strict=False):
            v.copy_(linear.weight.t())
    torch.testing.assert_close(learn(model, handle, x, y), expected)


def exact_beside(model, handle, x, y):
    with bp.exact_gradients(model):
        return learn(model, handle, x, y)


def test_exact_inverses_make_each_block_reach_its_target_from_the_target_below():
    """Where blocks are linear, that is the Gauss-Newton step."""
    model, handle, x, y = attached([3, 4, 4, 4, 2], nn.Identity)
    first, second, third, last = linears_of(model)
    with torch.no_grad():
        for (v, _), linear in zip(inverses_of(handle), (second, third), strict=True):
            v.copy_(torch.linalg.inv(linear.weight))
    learn(model, handle, x, y)
    error = (model(x).softmax(1) - F.one_hot(y, 2)).mean(0)
    gradient = last.weight.t() @ error
    newton = torch.linalg.solve(third.weight @ second.weight, gradient)
    torch.testing.assert_close(third.bias.grad, gradient)
    torch.testing.assert_close(first.bias.grad, newton)


def test_an_affine_inverse_knows_neither_its_bias_nor_the_rate():
    found = []
    for rate, shift in ((1.0, 0.0), (0.01, 0.0), (1.0, 5.0)):
        torch.manual_seed(1)
        model, handle, x, y = attached(activation=nn.ReLU, rate=rate)
        assert str(handle.report).count("(affine)") == 2
        with torch.no_grad():
            for _, c in inverses_of(handle):
                c.add_(shift)
        found.append(learn(model, handle, x, y))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=0)


def test_a_tanh_inverse_knows_both():
    found = []
    for rate, shift in ((1.0, 0.0), (0.01, 0.0), (1.0, 5.0)):
        model, handle, x, y = attached(rate=rate)
        assert str(handle.report).count("(tanh)") == 2
        with torch.no_grad():
            for _, c in inverses_of(handle):
                c.add_(shift)
        found.append(learn(model, handle, x, y)["0.weight"])
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_with_affine_inverses_signals_scale_with_the_loss():
    model, handle, x, y = attached(activation=nn.ReLU)
    once = learn(model, handle, x, y)
    clear(model, handle)
    (4 * F.cross_entropy(model(x), y)).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, 4 * once[name])


def test_inverses_learn_to_reconstruct():
    """Trained alone, they bring the noisy activities back."""
    model, handle, x, y = attached([3, 4, 4, 4, 2], sigma=0.1)
    optimizer = torch.optim.Adam(handle.parameters(), 0.02)

    def error():
        h = model[:2](x)
        (v, c), *_ = inverses_of(handle)
        with torch.no_grad():
            return (torch.tanh(model[2:4](h) @ v.t() + c) - h).square().sum(1).mean().item()

    before = error()
    for _ in range(200):
        learn(model, handle, x, y)
        optimizer.step()
    assert error() < 0.2 * before


def test_forward_gradients_do_not_depend_on_noise_nor_inverses_on_targets():
    found = []
    for sigma, shift in ((0.1, 0), (0.9, 0), (0.1, 1)):
        torch.manual_seed(0)
        model, handle, x, y = attached(sigma=sigma)
        gradients = learn(model, handle, x, (y + shift) % 3)
        found.append((gradients, [p.grad for p in handle.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0)
    torch.testing.assert_close(found[0][1], found[2][1], rtol=0, atol=0)
    assert not torch.equal(found[0][1][0], found[1][1][0])
    assert not torch.equal(found[0][0]["0.weight"], found[2][0]["0.weight"])


def test_in_eval_mode_inverses_carry_and_do_not_learn():
    model, handle, x, y = attached()
    expected = learn(model, handle, x, y)
    model.eval()
    torch.testing.assert_close(learn(model, handle, x, y), expected, rtol=0, atol=0)
    assert all(p.grad is None for p in handle.parameters())


def test_every_pass_has_noise_of_its_own():
    model, handle, x, y = attached()
    found = []
    for _ in range(2):
        learn(model, handle, x, y)
        found.append(handle.parameters()[0].grad)
    assert not torch.equal(*found)


def test_a_message_whose_backward_pass_ended_early_is_forgotten():
    model, handle, x, y = attached()
    expected = learn(model, handle, x, y)
    clear(model, handle)
    loss = F.cross_entropy(model(x), y)
    # The block before the last sends back, and none before it is asked.
    torch.autograd.grad(2 * loss, [model[4].weight], retain_graph=True)
    loss.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_each_token_is_a_row_and_a_map_is_one_row():
    tokens = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    handle = bp.attach(tokens, bp.DifferenceTargetPropagation())
    x = torch.randn(6, 7, 3)
    F.cross_entropy(tokens(x).flatten(0, 1), torch.arange(42) % 2).backward()
    assert [tuple(p.shape) for p in handle.parameters()] == [(5, 4), (5,)]
    maps = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2)
    )
    handle = bp.attach(maps, bp.DifferenceTargetPropagation())
    F.cross_entropy(maps(torch.randn(6, 1, 7, 7)), torch.arange(6) % 2).backward()
    assert [tuple(p.shape) for p in handle.parameters()] == [(50, 27), (50,)]
    assert all(p.grad is not None for p in (*maps.parameters(), *handle.parameters()))


def test_tokens_learn_as_the_samples_they_are():
    torch.manual_seed(0)
    model, handle, _, _ = attached()
    x, y = torch.randn(4, 3, 3, dtype=torch.float64), torch.arange(12) % 3
    found = []
    for inputs in (x, x.flatten(0, 1)):
        clear(model, handle)
        model.eval()
        F.cross_entropy(model(inputs).reshape(-1, 3), y).backward()
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*found)


def test_what_a_block_draws_for_its_inverse_nobody_misses():
    model = nn.Sequential(
        nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, 2)
    )
    bp.attach(model, bp.DifferenceTargetPropagation())
    loss = model(torch.randn(6, 3)).square().mean()
    before = torch.get_rng_state()
    loss.backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_running_statistics_see_each_batch_once():
    layers = [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(4, 2))
    plain = nn.BatchNorm1d(4)
    bp.attach(model, bp.DifferenceTargetPropagation())
    x = torch.randn(6, 3)
    plain(model[:3](x))
    model(x).square().mean().backward()
    torch.testing.assert_close(model[3].state_dict(), plain.state_dict())


def test_an_input_that_the_first_block_changes_in_place():
    model = nn.Sequential(nn.ReLU(inplace=True), *mlp(WIDTHS))
    bp.attach(model, bp.DifferenceTargetPropagation())
    x, y = batch_for(WIDTHS)
    F.cross_entropy(model(x), y).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_frozen_blocks_before_and_exact_ones_behind():
    model = mlp([3, 4, 4, 4, 4, 2])
    rules = {"0": bp.Frozen(), "6": bp.Backprop(), "*": bp.DifferenceTargetPropagation()}
    handle = bp.attach(model, rules)
    x, y = batch_for([3, 4, 4, 4, 4, 2])
    found = learn(model, handle, x, y)
    assert found["0.weight"] is None
    assert [tuple(p.shape) for p in handle.parameters()] == [(4, 4), (4,)]
    handle.remove()
    expected = exact(model, x, y)
    same = [name for name in found if name[0] in "468"]
    torch.testing.assert_close({n: found[n] for n in same}, {n: expected[n] for n in same})
    assert not torch.allclose(found["2.weight"], expected["2.weight"])


def test_a_checkpoint_holds_the_inverses():
    model, handle, x, y = attached()
    learn(model, handle, x, y)
    twin = mlp(WIDTHS)
    again = bp.attach(twin, bp.DifferenceTargetPropagation())
    twin.load_state_dict(model.state_dict())
    again.load_state_dict(handle.state_dict())
    torch.testing.assert_close(learn(twin, again, x, y), learn(model, handle, x, y))


class Pick(nn.Module):
    def forward(self, found):
        return found[0]


IN_A_ROW = "must teach consecutive blocks that hold all modules of the chain, with no other rule"


@pytest.mark.parametrize(
    "rules",
    [
        {"2": bp.Backprop(), "*": bp.DifferenceTargetPropagation()},
        {"2": bp.Frozen(), "*": bp.DifferenceTargetPropagation()},
        {"0": bp.Backprop(), "*": bp.DifferenceTargetPropagation()},
        {"0": bp.LocalLoss(), "*": bp.DifferenceTargetPropagation()},
        {"4": bp.LocalLoss(), "*": bp.DifferenceTargetPropagation()},
        {"4": bp.Frozen(), "*": bp.DifferenceTargetPropagation()},
        {"2": bp.DifferenceTargetPropagation(rate=2), "*": bp.DifferenceTargetPropagation()},
    ],
    ids=["exact", "frozen", "exact-first", "local-first", "local-last", "frozen-last", "other"],
)
def test_other_rules_between_are_refused(rules):
    model = mlp(WIDTHS)
    with pytest.raises(bp.UserError, match=f"{IN_A_ROW}|would never learn"):
        bp.attach(model, rules)
    assert bp.attachment_of(model) is None


def test_modules_in_no_block_are_refused():
    model = nn.Sequential(
        nn.Sequential(nn.Linear(3, 4)), nn.MaxPool1d(2), nn.Linear(2, 4), nn.Linear(4, 2)
    )
    with pytest.raises(bp.UserError, match=IN_A_ROW):
        bp.attach(model, bp.DifferenceTargetPropagation(), ["0.0", "2", "3"])


def test_models_that_are_no_chain_are_refused():
    case = CASE["residual"]
    with pytest.raises(bp.AttachError, match=r"teaches an nn\.Sequential, not a Residual$"):
        bp.attach(case.fresh(), bp.DifferenceTargetPropagation(), case.blocks)


def test_blocks_that_return_several_tensors_are_refused():
    model = nn.Sequential(nn.LSTM(3, 4), Pick(), nn.Linear(4, 4), nn.Linear(4, 2))
    bp.attach(model, bp.DifferenceTargetPropagation())  # the pick joins the block: one tensor
    model(torch.randn(5, 3)).sum().backward()
    model = nn.Sequential(nn.LSTM(3, 4), nn.Sequential(Pick(), nn.Linear(4, 4)), nn.Linear(4, 2))
    bp.attach(model, bp.DifferenceTargetPropagation())
    with pytest.raises(bp.UserError, match="'0', which returns several tensors or runs several"):
        model(torch.randn(5, 3))


def test_sizes_that_change_from_pass_to_pass_are_refused():
    convolutions = [nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Conv1d(2, 2, 3), nn.AdaptiveAvgPool1d(2)]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(4, 2))
    bp.attach(model, bp.DifferenceTargetPropagation())
    model(torch.randn(5, 1, 9))
    with pytest.raises(bp.UserError, match=r"from 4 outputs to 14 inputs, but '2'"):
        model(torch.randn(5, 1, 8))
