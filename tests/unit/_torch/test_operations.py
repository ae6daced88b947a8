"""Counted floating-point operations, compared with formulas."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from beyondprop._torch.operations import (
    Operations,
    recurrent_backward_on_cuda,
    recurrent_on_cuda,
)
from beyondprop.models.transformer import Attention


def test_attention_counts() -> None:
    """PyTorch's own counter has no formula for the operator that a CPU takes."""
    batch, tokens, width, heads = 3, 5, 16, 2
    attention, x = Attention(width, heads, causal=True), torch.randn(batch, tokens, width)
    linear = 2 * batch * tokens * width * 4 * width
    pairs = 2 * batch * tokens * tokens * width  # of queries and keys; as many for the values
    counter = Operations()
    with counter:
        out = attention(x)
    assert counter.total == linear + 2 * pairs
    counter = Operations()
    with counter:
        out.sum().backward()
    weights_and_inputs = linear + 2 * batch * tokens * width * width  # x needs no gradient
    assert counter.total == weights_and_inputs + 5 * pairs  # the scores are computed once more


def counted(work: Callable[[], object]) -> int:
    counter = Operations()
    with counter:
        work()
    return counter.total


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_in_groups_counts_as_its_weights(groups: int, transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(4, 8, 3, padding=1, groups=groups)
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    forward = 2 * 2 * 36 * layer.weight.numel()
    assert counted(lambda: layer(x)) == forward
    out = layer(x).sum()
    assert counted(out.backward) == 2 * forward  # to inputs and to weights
    out = layer(x.detach()).sum()
    assert counted(out.backward) == forward


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_count_each_step(kind: type[nn.RNNBase], layers: int) -> None:
    layer, x = kind(8, 16, layers), torch.randn(5, 3, 8, requires_grad=True)
    weights = sum(each.numel() for each in layer.parameters() if each.ndim > 1)
    forward = 2 * 5 * 3 * weights
    assert counted(lambda: layer(x)) == forward
    out = layer(x)[0].sum()
    least = forward * 2 - 2 * 3 * 16 * 16 * layers * 4  # the first state may need no gradient
    assert least <= counted(out.backward) <= 2 * forward


def test_recurrent_layers_by_cudnn_count_alike() -> None:
    layer, x = nn.LSTM(8, 16, 2), torch.randn(5, 3, 8)
    forward = counted(lambda: layer(x))
    weights = list(layer.parameters())
    assert recurrent_on_cuda(x, weights) == forward
    assert recurrent_backward_on_cuda(x, weights) == 2 * forward


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_fused_transformer_counts_as_its_parts() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    model, x = nn.TransformerEncoder(layer, 2), torch.randn(3, 5, 16)
    in_parts = counted(lambda: model(x))
    model.eval()
    with torch.no_grad():
        assert counted(lambda: model(x)) == in_parts
    assert in_parts > 2 * 2 * 15 * (4 * 16 * 16 + 2 * 16 * 32)  # of the layers' weights
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_lookups_and_sums_count_nothing(mode: str) -> None:
    bag, table, words = nn.EmbeddingBag(50, 8, mode=mode), nn.Embedding(50, 8), torch.ones(4, 6)
    assert counted(lambda: bag(words.long()).sum().backward()) == 0
    assert counted(lambda: table(words.long()).sum(1).sum().backward()) == 0
    last = nn.Linear(8, 3)
    assert counted(lambda: last(bag(words.long())).sum().backward()) == 3 * 2 * 4 * 8 * 3
