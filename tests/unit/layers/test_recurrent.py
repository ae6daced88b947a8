"""Recurrent cells whose products have a backward of their own."""

import numpy as np
import pytest
import torch
from tests.reference import recurrent_cells as cells
from torch import nn
from transport import Only, Transport, assert_transported, feedback_of, rand

import beyondprop as bp

KINDS = {
    "tanh": lambda **options: nn.RNNCell(4, 3, **options),
    "relu": lambda **options: nn.RNNCell(4, 3, nonlinearity="relu", **options),
    "gru": lambda **options: nn.GRUCell(4, 3, **options),
    "lstm": lambda **options: nn.LSTMCell(4, 3, **options),
}


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("leading", [(2,), ()])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", list(KINDS))
def test_weight_transport_is_backprop(kind, bias, leading, given):
    x = rand(*leading, 4)
    state = [rand(*leading, 3) for _ in range(2 if kind == "lstm" else 1)]
    hx = (tuple(state) if kind == "lstm" else state[0]) if given else None
    inputs = [x, *state] if given else [x]
    assert_transported(KINDS[kind](bias=bias).double(), lambda model: model(x, hx), inputs)


class Sequence(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        state = None
        for step in x:
            state = self.cell(step, state)
        return state


@pytest.mark.parametrize("kind", list(KINDS))
def test_through_time(kind):
    x = rand(5, 2, 4)
    assert_transported(Sequence(KINDS[kind]()).double(), lambda model: model(x), [x])


@pytest.mark.parametrize("rule", [Transport(), bp.FeedbackAlignment()], ids=["transport", "fa"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_products_equal_the_reference(kind, rule):
    cell = KINDS[kind]().double()
    model = Only(cell)
    bp.attach(model, rule, blocks=["layer"])
    x, h, c = rand(2, 4), rand(2, 3), rand(2, 3)
    new = model(x, (h, c)) if kind == "lstm" else model(x, h)
    new_h, new_c = new if kind == "lstm" else (new, torch.zeros_like(new))
    error, error_c = torch.randn_like(new_h), torch.randn_like(new_h)
    torch.autograd.backward(
        [new_h, new_c][: 1 + (kind == "lstm")], [error, error_c][: 1 + (kind == "lstm")]
    )

    weights = {name: p.detach().numpy() for name, p in cell.named_parameters()}
    stand_in = [feedback_of(cell, name).numpy() for name in ("weight_ih", "weight_hh")]
    totals = {name: np.zeros(w.shape) for name, w in weights.items()}
    for n in range(2):
        xn, hn, cn = (t[n].detach().numpy() for t in (x, h, c))
        a = cells.product(weights["weight_ih"], xn, weights["bias_ih"])
        u = cells.product(weights["weight_hh"], hn, weights["bias_hh"])
        direct = np.zeros(3)
        if kind == "gru":
            expected, at_a, at_u, direct = cells.gru(a, u, hn, error[n].numpy())
        elif kind == "lstm":
            expected, expected_c, at_a, at_c = cells.lstm(
                a, u, cn, error[n].numpy(), error_c[n].numpy()
            )
            at_u = at_a
            np.testing.assert_allclose(new_c[n].detach().numpy(), expected_c, rtol=1e-9)
            np.testing.assert_allclose(c.grad[n].numpy(), at_c, rtol=1e-9)
        else:
            expected, at_a = cells.elman(a, u, error[n].numpy(), kind == "relu")
            at_u = at_a
        behind_x = cells.behind(stand_in[0], at_a)
        behind_h = cells.behind(stand_in[1], at_u) + direct
        np.testing.assert_allclose(new_h[n].detach().numpy(), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(x.grad[n].numpy(), behind_x, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(h.grad[n].numpy(), behind_h, rtol=1e-9, atol=1e-12)
        totals["weight_ih"] += np.outer(at_a, xn)
        totals["weight_hh"] += np.outer(at_u, hn)
        totals["bias_ih"] += at_a
        totals["bias_hh"] += at_u
    for name, total in totals.items():
        found = cell.get_parameter(name).grad.numpy()
        np.testing.assert_allclose(found, total, rtol=1e-9, atol=1e-12)
