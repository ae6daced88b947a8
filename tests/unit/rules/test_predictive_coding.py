"""Predictive coding against its slow reference, and what is known of it."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import predictive_coding as reference
from tests.unit.rules.test_forward_rules import arrays, batch_for, compare, mlp, samples
from torch import nn

import beyondprop as bp

nets = {
    "widths": st.lists(st.integers(2, 5), min_size=2, max_size=5),
    "rows": st.integers(1, 4),
    "seed": st.integers(0, 2**16),
    "steps": st.integers(0, 5),
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


def chain(last=3):
    """Return a net with convolutions, pooling, flattening and a layer before the first weight."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Identity(),
        nn.Sequential(nn.Conv2d(2, 3, 2, padding=1), nn.Tanh(), nn.MaxPool2d(2)),
        nn.Conv2d(3, 4, 2),
        nn.Flatten(),
        nn.Sigmoid(),
        nn.Linear(4, last),
    ).double()


def images(rows=5):
    torch.manual_seed(1)
    return torch.randn(rows, 2, 3, 3, dtype=torch.float64), torch.randint(0, 3, (rows,))


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
