"""The linear layer against plain autograd, and what all operations have in common."""

import pytest
import torch
from torch import nn
from transport import Only, Transport, assert_transported, feedback_of, outcome, rand

import beyondprop as bp


@pytest.mark.parametrize("leading", [(), (2,), (2, 3), (0,)])
@pytest.mark.parametrize("bias", [True, False])
def test_weight_transport_is_backprop(leading, bias):
    x = rand(*leading, 4)
    layer = nn.Linear(4, 5, bias=bias).double()
    if 0 in leading:
        model = Only(layer)
        bp.attach(model, Transport(), blocks=["layer"])
        model(x).sum().backward()
        assert not layer.weight.grad.any()
        return
    assert_transported(layer, lambda model: model(x), [x])


def cases():
    x, hidden = rand(2, 4), rand(2, 3)
    image = rand(2, 4, 5, 5)
    tokens = rand(3, 2, 4)
    return {
        "linear": (nn.Linear(4, 3), lambda m: m(x), [x], 2),
        "conv": (nn.Conv2d(4, 2, 3, groups=2, padding=1), lambda m: m(image), [image], 2),
        "reflect": (
            nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"),
            lambda m: m(image),
            [image],
            2,
        ),
        "transposed": (nn.ConvTranspose2d(4, 2, 3, stride=2), lambda m: m(image), [image], 2),
        "attention": (
            nn.MultiheadAttention(4, 2),
            lambda m: m(tokens, tokens, tokens),
            [tokens],
            4,  # twice through a projection
        ),
        "rnn": (nn.RNNCell(4, 3), lambda m: m(x, hidden), [x, hidden], 2),
        "lstm": (nn.LSTMCell(4, 3), lambda m: m(x, (hidden, hidden)), [x], 2),
    }


@pytest.mark.parametrize("name", list(cases()))
def test_the_error_goes_back_through_the_feedback_and_not_the_weight(name):
    """Twice the weight as feedback: twice the error behind, the layer's own gradients the same."""
    layer, call, inputs, factor = cases()[name]
    model = Only(layer.double())
    outputs, gradients = outcome(model, call, inputs)
    bp.attach(model, Transport(factor=2.0), blocks=["layer"])
    ours = outcome(model, call, inputs)
    torch.testing.assert_close(ours[0], outputs)
    behind, count = ours[1], len(inputs)
    if name == "attention":
        # The weights' own part of the loss has one projection behind it, the output's has two.
        assert not torch.allclose(behind[0], gradients[0])
        return
    torch.testing.assert_close(behind[:count], [factor * g for g in gradients[:count]])
    torch.testing.assert_close(behind[count:], gradients[count:])


def test_feedback_alignment_sends_the_error_times_its_matrix():
    layer, x = nn.Linear(4, 3).double(), rand(2, 4)
    model = Only(layer)
    bp.attach(model, bp.FeedbackAlignment(), blocks=["layer"])
    error = torch.randn(2, 3, dtype=torch.float64)
    model(x).backward(error)
    torch.testing.assert_close(x.grad, error @ feedback_of(layer))
    assert not torch.allclose(feedback_of(layer), layer.weight)


def test_no_matrix_is_drawn_for_an_input_that_needs_no_error():
    drawn = []

    class Counting(Transport):
        def feedback(self, weight, layer):
            drawn.append(layer.name)
            return super().feedback(weight, layer)

    model = Only(nn.Linear(4, 3))
    bp.attach(model, Counting(), blocks=["layer"])
    model(torch.randn(2, 4)).sum().backward()
    assert not drawn
    model(torch.randn(2, 4, requires_grad=True)).sum().backward()
    assert drawn == ["weight"]


AUTOCAST = {
    "linear": (nn.Linear(4, 4), lambda m, x: m(x)),
    "conv": (nn.Conv1d(3, 4, 2), lambda m, x: m(x)),
    "transposed": (nn.ConvTranspose1d(3, 4, 2), lambda m, x: m(x)),
    "attention": (nn.MultiheadAttention(4, 2), lambda m, x: m(x, x, x)),
    "cross": (nn.MultiheadAttention(4, 2), lambda m, x: m(x, x + 1, x, need_weights=False)),
    "extended": (
        nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True),
        lambda m, x: m(x, x, x),
    ),
    "rnn": (nn.RNNCell(4, 4), lambda m, x: m(x[0], x[1])),
    "gru": (nn.GRUCell(4, 4), lambda m, x: m(x[0], x[1])),
    "lstm": (nn.LSTMCell(4, 4), lambda m, x: m(x[0], (x[1], x[0]))),
    "encoder": (nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), lambda m, x: m(x)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(AUTOCAST))
def test_autocast_gives_the_dtypes_and_nearly_the_numbers_of_the_plain_layer(name, dtype):
    layer, run = AUTOCAST[name]
    x = torch.randn(2, 3, 4, dtype=dtype, requires_grad=True)
    model = Only(layer.to(dtype))

    def call(model):
        with torch.autocast("cpu", torch.bfloat16):
            return run(model, x)

    plain = outcome(model, call, [x])
    handle = bp.attach(model, Transport(), blocks=["layer"])
    ours = outcome(model, call, [x])
    assert [t.dtype for t in ours[0]] == [t.dtype for t in plain[0]]
    tolerance = 0.1 if dtype is torch.float32 else 1e-10
    torch.testing.assert_close(ours, plain, rtol=tolerance, atol=tolerance)
    handle.remove()


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_channels_last(kind):
    layer = kind(4, 6, 3, padding=1).double().to(memory_format=torch.channels_last)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64).to(memory_format=torch.channels_last)
    x.requires_grad_()
    assert_transported(layer, lambda model: model(x), [x])
    model = Only(layer)
    plain = model(x).is_contiguous(memory_format=torch.channels_last)
    bp.attach(model, Transport(), blocks=["layer"])
    assert model(x).is_contiguous(memory_format=torch.channels_last) == plain
