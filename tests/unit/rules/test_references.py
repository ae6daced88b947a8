"""Each rule against its slow reference, in float64, in each of the ways a chain can run."""

from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import internals
from tests.reference import (
    backprop,
    direct_feedback_alignment,
    direct_random_target_projection,
    error_broadcast_decorrelation,
    feedback_alignment,
    frozen,
    sign_symmetry,
    weight_mirror,
)
from tests.reference.network import outer_products
from torch import nn

import beyondprop as bp
from beyondprop.random.streams import stream_of

LIKE = torch.zeros(1, dtype=torch.float64)

# Settings by which one pass shows what the rule does, and which the slow reference can bear.
QUICK = {
    "wm": {"decay": 0.5, "samples": 3},
    "ebd": {"forgetting": 0.6, "initial": 0.5, "power": 0.3, "entropy": 0.4, "epsilon": 0.1},
}


def network(widths):
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def state(linear):
    """Return the learned feedback of a layer."""
    return internals.at_weight(linear).state["feedback"].detach().numpy()


def stream(linear):
    return internals.at_weight(linear).stream


def drawn(rule, linear, stream):
    """Return the random matrix of a layer, shaped like its weight."""
    at = rule.projection.stream(stream)
    return rule.projection.matrix(linear.out_features, linear.in_features, at, LIKE).numpy()


def mirrored_once(rule, linear):
    """Return the feedback after the first pass of a weight mirror."""
    feedback, weight = drawn(rule, linear, stream(linear)), linear.weight.detach().numpy()
    phases = round(1 / rule.decay)
    for phase in [*range(phases), -1]:
        decay = rule.decay if phase < 0 else 1 / (phase + 1)
        noise = mirror_noise(rule, linear, 1, phase)
        feedback = weight_mirror.mirrored(feedback, weight, noise, decay, 1 / weight.shape[1])
    return feedback


def mirror_noise(rule, linear, number, phase):
    named = stream_of(f"{stream(linear)}, pass {number}, phase {phase}")
    return rule.noise.matrix(rule.samples, linear.in_features, named, LIKE).numpy()


def reference(handle, model, batch):
    """Return the gradients of the first pass, from the same weights and random matrices."""
    linears = [m for m in model if isinstance(m, nn.Linear)]
    weights = [linear.weight.detach().numpy() for linear in linears]
    biases = [linear.bias.detach().numpy() for linear in linears]
    rule = handle.blocks[0].rule
    if rule.name == "ebd":
        found = [rule.initial * matrix.T for matrix in direct(handle, linears)]
        empty = [np.zeros((w.shape[0], w.shape[0])) for w in weights[:-1]]
        settings = error_broadcast_decorrelation_settings(rule)
        return error_broadcast_decorrelation.step(weights, biases, batch, found, empty, settings)[0]
    return outer_products(weights, biases, batch, deltas(handle, rule, linears, weights))


def error_broadcast_decorrelation_settings(rule):
    names = ("forgetting", "initial", "power", "level", "entropy", "epsilon")
    return {name: getattr(rule, name) for name in names}


def deltas(handle, rule, linears, weights):
    match rule.name:
        case "backprop":
            return backprop.deltas(weights)
        case "frozen":
            return frozen.deltas(len(linears))
        case "fa":
            return feedback_alignment.deltas([drawn(rule, m, stream(m)) for m in linears])
        case "usf":
            return sign_symmetry.deltas(weights, [sign_symmetry.uniform(w) for w in weights])
        case "frsf":
            magnitudes = [np.abs(drawn(rule, m, stream(m))) for m in linears]
            return sign_symmetry.deltas(weights, magnitudes)
        case "brsf":
            streams = [stream_of(f"{stream(m)}, pass 1") for m in linears]
            fresh = [np.abs(drawn(rule, m, s)) for m, s in zip(linears, streams, strict=True)]
            return sign_symmetry.deltas(weights, fresh)
        case "wm":
            return weight_mirror.deltas([mirrored_once(rule, m) for m in linears])
        case "kp":
            found = [drawn(rule, m, stream(m)) for m in linears]
            sizes = [np.linalg.norm(w) for w in weights]
            alike = [b * n / np.linalg.norm(b) for b, n in zip(found, sizes, strict=True)]
            return feedback_alignment.deltas(alike)
        case "dfa" | "dkp":
            return direct_feedback_alignment.deltas(direct(handle, linears))
        case "drtp":
            return direct_random_target_projection.deltas(direct(handle, linears))
    raise AssertionError(f"{rule.name} has no reference")


def direct(handle, linears):
    """Return the matrices from the output to each hidden layer, (width, classes)."""
    classes, projection = linears[-1].out_features, handle.blocks[0].rule.projection
    return [
        projection.matrix(classes, linear.out_features, projection.stream(block.stream), LIKE)
        .numpy()
        .T
        for linear, block in zip(linears[:-1], handle.blocks, strict=False)
    ]


# How a chain runs is chosen by its size: each way has to be right.
FORMS = {"large": {"small": 0, "fused": 0}, "small": {"fused": 0}, "fused": {}}


@contextmanager
def form(small=internals.NODE_ABOVE, fused=internals.FUSED_UP_TO):
    before = internals.NODE_ABOVE, internals.FUSED_UP_TO
    internals.NODE_ABOVE, internals.FUSED_UP_TO = small, fused
    try:
        yield
    finally:
        internals.NODE_ABOVE, internals.FUSED_UP_TO = before


ELSEWHERE = ("fg", "lfg", "pepita", "pc", "epc", "dgl", "sim", "predsim", "infopro", "ff", "scff")
"""Compared in `test_forward_rules` and `test_local_references`."""

CASES = [
    (name, way)
    for name, rule in bp.rules.RULES.items()
    for way in (FORMS if rule.traits.ends_graph else ["small"])
    if name not in ELSEWHERE
]


@pytest.mark.parametrize(("name", "way"), CASES)
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
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
        rule = replace(rule, projection=bp.Dense(seed, shared), **QUICK.get(name, {}))
    with form(**FORMS[way]):
        handle = bp.attach(model, rule)
        with handle.targets(y):
            F.cross_entropy(model(x), y).backward()
    linears = [m for m in model if isinstance(m, nn.Linear)]
    samples = list(zip(x.numpy(), y.tolist(), strict=True))
    expected = reference(handle, model, samples)
    for linear, (weight, bias) in zip(linears, expected, strict=True):
        if linear.weight.grad is None:
            assert name == "frozen"
            assert not weight.any()
            continue
        np.testing.assert_allclose(linear.weight.grad.numpy(), weight, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(linear.bias.grad.numpy(), bias, rtol=1e-9, atol=1e-12)
