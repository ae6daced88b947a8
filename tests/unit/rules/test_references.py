"""Each rule against its slow reference, in float64, in each of the ways a chain can run."""

from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import (
    backprop,
    direct_feedback_alignment,
    direct_random_target_projection,
    feedback_alignment,
    frozen,
)
from tests.reference.network import outer_products
from torch import nn

import beyondprop as bp
from beyondprop import chain, teach


def network(widths):
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def reference_deltas(handle, model):
    """Return what makes the deltas, from the same weights and the same random matrices."""
    linears = [m for m in model if isinstance(m, nn.Linear)]
    weights = [linear.weight.detach().numpy() for linear in linears]
    like = linears[0].weight.detach()
    rule = handle.blocks[0].rule
    if rule.name == "backprop":
        return backprop.deltas(weights)
    if rule.name == "frozen":
        return frozen.deltas(len(linears))
    if rule.name == "fa":
        feedbacks = [vars(linear)["_feedback"]["weight"] for linear in linears]
        return feedback_alignment.deltas(
            [f.of(f.owner()).detach().numpy() for f in feedbacks]
        )
    classes = linears[-1].out_features
    matrix = rule.projection.matrix
    matrices = [
        matrix(classes, linear.out_features, rule.projection.stream(block.stream), like).numpy().T
        for linear, block in zip(linears[:-1], handle.blocks, strict=False)
    ]
    module = {"dfa": direct_feedback_alignment, "drtp": direct_random_target_projection}
    return module[rule.name].deltas(matrices)


# How a chain runs is chosen by its size: each way has to be right.
FORMS = {"large": {"small": 0, "deep": 99}, "small": {"deep": 99}, "fused": {"deep": 1}}


@contextmanager
def form(small=teach.SMALL, deep=chain.DEEP):
    before = teach.SMALL, chain.DEEP
    teach.SMALL, chain.DEEP = small, deep
    try:
        yield
    finally:
        teach.SMALL, chain.DEEP = before


@pytest.mark.parametrize("way", list(FORMS))
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("name", list(bp.rules.RULES))
@settings(max_examples=10, deadline=None)
@given(
    widths=st.lists(st.sampled_from([2, 3, 3, 5]), min_size=3, max_size=6),
    batch=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
def test_gradients_equal_the_reference(name, shared, way, widths, batch, seed):
    torch.manual_seed(seed)
    model = network(widths)
    x = torch.randn(batch, widths[0], dtype=torch.float64)
    y = torch.randint(0, widths[-1], (batch,))
    rule = bp.rules.make(name)
    if hasattr(rule, "projection"):
        rule = type(rule)(bp.Dense(seed, shared))
    with form(**FORMS[way]):
        handle = bp.attach(model, rule)
        with handle.targets(y):
            F.cross_entropy(model(x), y).backward()
    linears = [m for m in model if isinstance(m, nn.Linear)]
    expected = outer_products(
        [linear.weight.detach().numpy() for linear in linears],
        [linear.bias.detach().numpy() for linear in linears],
        list(zip(x.numpy(), y.tolist(), strict=True)),
        reference_deltas(handle, model),
    )
    for linear, (weight, bias) in zip(linears, expected, strict=True):
        if linear.weight.grad is None:
            assert name == "frozen"
            assert not weight.any()
            continue
        np.testing.assert_allclose(linear.weight.grad.numpy(), weight, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(linear.bias.grad.numpy(), bias, rtol=1e-9, atol=1e-12)
