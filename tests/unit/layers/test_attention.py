"""Attention whose projections have a backward of their own."""

import itertools
import math

import numpy as np
import pytest
import torch
from tests.reference import attention
from torch import nn
from transport import Only, Transport, assert_transported, feedback_of, outcome, rand, tensors

import beyondprop as bp

BATCH, QUERIES, KEYS, WIDTH, HEADS = 2, 3, 4, 6, 2


def inputs(kind, first, batched, kdim=None, vdim=None):
    """Return query, key and value, and which of them are different tensors."""

    def sequence(length, width):
        if not batched:
            return rand(length, width)
        return rand(BATCH, length, width) if first else rand(length, BATCH, width)

    query = sequence(QUERIES, WIDTH)
    if kind == "self":
        return (query, query, query), [query]
    key = sequence(KEYS, kdim or WIDTH)
    if kind == "memory" and kdim == vdim:
        return (query, key, key), [query, key]
    value = sequence(KEYS, vdim or WIDTH)
    return (query, key, value), [query, key, value]


LAYERS = [
    {},
    {"bias": False},
    {"kdim": 5},
    {"kdim": 5, "vdim": 3, "bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True},
    {"add_bias_kv": True, "add_zero_attn": True, "vdim": 5},
]


@pytest.mark.parametrize("needs", [{}, {"average_attn_weights": False}, {"need_weights": False}])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["self", "memory", "three"])
@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_weight_transport_is_backprop(options, kind, first, batched, needs):
    widths = options.get("kdim"), options.get("vdim")
    if kind == "self" and any(widths):
        return
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=first, **options).double()
    nn.init.normal_(layer.out_proj.weight)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)  # biases are zeros to begin with
    given, separate = inputs(kind, first, batched, *widths)
    assert_transported(layer, lambda model: model(*given, **needs), separate)


def masks():
    """Return masks by name; no query is left without a key."""
    left_out = torch.zeros(BATCH, KEYS, dtype=torch.bool)
    left_out[0, 2:] = left_out[1, 0] = True
    late = torch.zeros(BATCH, KEYS, dtype=torch.bool)
    late[0, 1:] = late[1, 2] = True
    triangle = torch.ones(QUERIES, KEYS).triu(1).bool()
    each = torch.rand(BATCH * HEADS, QUERIES, KEYS) < 0.3
    each[..., 1] = False
    additive = torch.randn(QUERIES, KEYS, dtype=torch.float64)
    infinite = torch.zeros(BATCH, KEYS, dtype=torch.float64).masked_fill(left_out, -math.inf)
    heads = torch.randn(BATCH * HEADS, QUERIES, KEYS, dtype=torch.float64)
    return {
        "padding": {"key_padding_mask": left_out},
        "float padding": {"key_padding_mask": infinite},
        "2-d": {"attn_mask": triangle},
        "float 2-d": {"attn_mask": additive},
        "3-d": {"attn_mask": each},
        "float 3-d": {"attn_mask": heads},
        "both": {"attn_mask": triangle, "key_padding_mask": late},
        "float both": {"attn_mask": heads, "key_padding_mask": infinite},
        "causal": {"attn_mask": triangle, "is_causal": True},
    }


def of_first_sample(mask):
    if mask is True or mask.shape[0] == QUERIES:
        return mask
    return mask[0] if mask.shape[0] == BATCH else mask[:HEADS]


@pytest.mark.parametrize("needs", [{}, {"need_weights": False}])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("name", list(masks()))
def test_masks(name, extended, batched, needs):
    options = {"add_bias_kv": extended, "add_zero_attn": extended}
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **options).double()
    given, separate = inputs("three", True, batched)
    mask = masks()[name]
    if name == "causal":
        given, separate = inputs("self", True, batched)
        causal = torch.ones(QUERIES, QUERIES).triu(1).bool()
        mask = {"attn_mask": causal, "is_causal": True}
    if not batched:
        mask = {key: of_first_sample(value) for key, value in mask.items()}
    assert_transported(layer, lambda model: model(*given, **mask, **needs), separate)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_without_any_key_gives_what_the_plain_layer_gives(need_weights):
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    (given, _), model = inputs("three", True, True), Only(layer)
    nothing = {"key_padding_mask": torch.tensor([[True] * KEYS, [False] * KEYS])}
    plain = model(*given, **nothing, need_weights=need_weights)
    bp.attach(model, Transport(), blocks=["layer"])
    ours = model(*given, **nothing, need_weights=need_weights)
    assert not plain[0][1].isnan().any()
    torch.testing.assert_close(ours, plain, equal_nan=True)


def test_a_causal_hint_needs_its_mask_as_in_the_plain_layer():
    layer, x = nn.MultiheadAttention(WIDTH, HEADS), torch.randn(QUERIES, BATCH, WIDTH)
    with pytest.raises(RuntimeError):
        layer(x, x, x, is_causal=True)
    model = Only(layer)
    bp.attach(model, Transport(), blocks=["layer"])
    with pytest.raises(RuntimeError, match="give the mask too"):
        model(x, x, x, is_causal=True)


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_zeroes_its_share_scales_the_rest_and_stops_in_evaluation_mode(need_weights):
    layer = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.25, batch_first=True).double()
    x = rand(4, 30, WIDTH)
    model = Only(layer)
    handle = bp.attach(model, Transport(), blocks=["layer"])

    def call(model):
        return model(x, x, x, need_weights=need_weights, average_attn_weights=False)

    one, again, other = (outcome(model, call, [x], seed) for seed in (0, 0, 1))
    torch.testing.assert_close(one, again)
    assert not torch.allclose(one[0][0], other[0][0])
    assert all(gradient.isfinite().all() and gradient.any() for gradient in one[1])
    model.eval()
    kept = outcome(model, call, [x])
    assert not torch.allclose(kept[0][0], one[0][0])
    if need_weights:
        dropped = one[0][1] == 0
        assert 0.22 < dropped.double().mean() < 0.28
        torch.testing.assert_close(one[0][1][~dropped], kept[0][1][~dropped] / 0.75)
    handle.remove()
    assert_transported(layer, call, [x])


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_is_the_plain_layers_own(need_weights):
    layer = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.25).double()
    given, separate = inputs("three", False, True)
    assert_transported(layer, lambda model: model(*given, need_weights=need_weights), separate)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_encoder_layers(norm_first, first, causal, padded, training):
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 8, dropout=0.0, norm_first=norm_first, batch_first=first
    )
    x = rand(BATCH, QUERIES, WIDTH) if first else rand(QUERIES, BATCH, WIDTH)
    options = {}
    if causal:
        options |= {"src_mask": torch.ones(QUERIES, QUERIES).triu(1).bool(), "is_causal": True}
    if padded:
        options["src_key_padding_mask"] = torch.tensor([[False, False, True], [False] * 3])
    layer = layer.double().train(training)
    assert_transported(layer, lambda model: model(x, **options), [x])


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_decoder_layers(norm_first, masked):
    layer = nn.TransformerDecoderLayer(WIDTH, HEADS, 8, dropout=0.0, norm_first=norm_first)
    x, memory = rand(QUERIES, BATCH, WIDTH), rand(KEYS, BATCH, WIDTH)
    options = {}
    if masked:
        options = {
            "tgt_mask": torch.ones(QUERIES, QUERIES).triu(1).bool(),
            "tgt_is_causal": True,
            "memory_key_padding_mask": torch.tensor([[False] * 3 + [True], [False] * 4]),
        }
    assert_transported(layer.double(), lambda model: model(x, memory, **options), [x, memory])


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_whole_transformers(norm_first):
    layer = nn.Transformer(
        WIDTH, HEADS, 2, 2, 8, dropout=0.0, batch_first=True, norm_first=norm_first
    ).double()
    x, y = rand(BATCH, KEYS, WIDTH), rand(BATCH, QUERIES, WIDTH)
    mask = nn.Transformer.generate_square_subsequent_mask(QUERIES, dtype=torch.float64)
    padding = torch.tensor([[False] * 3 + [True], [False] * 4])
    assert_transported(
        layer, lambda model: model(x, y, tgt_mask=mask, src_key_padding_mask=padding), [x, y]
    )


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("rule", [Transport(), bp.FeedbackAlignment()], ids=["transport", "fa"])
@pytest.mark.parametrize("options", [{}, {"kdim": 5, "vdim": 3}], ids=str)
def test_products_equal_the_reference(options, rule, masked):
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **options).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    model = Only(layer)
    bp.attach(model, rule, blocks=["layer"])
    given, _ = inputs("three", True, True, options.get("kdim"), options.get("vdim"))
    mask = torch.randn(QUERIES, KEYS, dtype=torch.float64) * masked
    output, weights = model(*given, attn_mask=mask, average_attn_weights=False)
    errors = torch.randn_like(output)
    output.backward(errors)

    packed = layer.in_proj_weight is not None
    names = ["in_proj_weight"] if packed else ["q_proj_weight", "k_proj_weight", "v_proj_weight"]

    def by_letter(of):
        parts = [of(name) for name in names]
        return list(parts[0].chunk(3)) if packed else parts

    def arrays(parts, last):
        values = zip("qkvo", [*parts, last], strict=True)
        return {letter: value.detach().numpy() for letter, value in values}

    own = arrays(by_letter(layer.get_parameter), layer.out_proj.weight)
    feedback = arrays(by_letter(lambda n: feedback_of(layer, n)), feedback_of(layer.out_proj))
    biases = arrays(layer.in_proj_bias.chunk(3), layer.out_proj.bias)
    found = arrays(by_letter(lambda n: layer.get_parameter(n).grad), layer.out_proj.weight.grad)
    found_biases = arrays(layer.in_proj_bias.grad.chunk(3), layer.out_proj.bias.grad)
    totals = {letter: [0.0, 0.0] for letter in "qkvo"}
    for n in range(BATCH):
        sample = [x[n].detach().numpy() for x in given]
        expected, kept = attention.forward(*sample, own, biases, HEADS, mask.numpy())
        np.testing.assert_allclose(output[n].detach().numpy(), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(weights[n].detach().numpy(), kept[3], rtol=1e-9, atol=1e-12)
        behind, gradients = attention.backward(*sample, kept, errors[n].numpy(), feedback, HEADS)
        for x, error in zip(given, behind, strict=True):
            np.testing.assert_allclose(x.grad[n].numpy(), error, rtol=1e-9, atol=1e-11)
        for letter, (weight, bias) in gradients.items():
            totals[letter][0] = totals[letter][0] + weight
            totals[letter][1] = totals[letter][1] + bias
    for letter, (weight, bias) in totals.items():
        np.testing.assert_allclose(found[letter], weight, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(found_biases[letter], bias, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("learns", list(itertools.product([True, False], repeat=3)), ids=str)
def test_inputs_without_gradients(learns):
    """A memory that needs no error: its projection learns, and nothing goes back to it."""
    layer = nn.MultiheadAttention(WIDTH, HEADS).double()
    given, separate = inputs("three", False, True)
    for x, needed in zip(separate, learns, strict=True):
        x.requires_grad_(needed)
    assert_transported(layer, lambda model: model(*given), separate)
    assert [x.grad is not None for x in separate] == list(learns)
    assert len(tensors(layer(*given))) == 2
