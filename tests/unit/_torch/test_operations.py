"""Floating-point operations as they are counted, beside formulas."""

import torch

from beyondprop._torch.operations import Operations
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
