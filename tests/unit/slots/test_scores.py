"""The gradient reaches every score of a weight, the chosen one as the others."""

import numpy as np
import pytest
import torch

from beyondprop import slots
from tests.reference import slots as reference
from tests.unit.slots.internals import arrays, moved, weights
from tests.unit.slots.networks import Task

LR = 0.25


def one_step(kind=4):
    """Return the model behind a step, and values, initial scores and gradients before it."""
    task = Task()
    model = task.model(kind)
    values, scores = arrays(model)
    begun = [w.numpy() for w in weights(model)]
    task.step(model, slots.drive_scores(torch.optim.SGD(model.parameters(), lr=LR), model))
    return model, values, scores, task.gradient(begun)


@pytest.mark.parametrize(
    "kind",
    [
        slots.Reels(2),
        slots.Reels(7),
        slots.Supermask(0.5),
        slots.MulticoatedSupermask((0.6, 0.2)),
        slots.SignedSupermask(0.1),
    ],
)
def test_every_score_moves_by_the_gradient_times_its_value(kind):
    model, values, scores, gradients = one_step(kind)
    for now, value, score, gradient in zip(moved(model), values, scores, gradients, strict=True):
        step = now.numpy() - score
        for k in range(kind.planes):
            expected = -LR * gradient * value[k]
            assert np.abs(step[k] - expected).max() < 1e-14
            assert (np.abs(expected) > 1e-8).mean() > 0.3  # masks may cut off a hidden unit


def test_updating_only_the_chosen_score_is_another_method():
    """The variant moves one score a weight; K scores and one number a weight move all."""
    model, values, scores, gradients = one_step()
    for now, value, score, gradient in zip(moved(model), values, scores, gradients, strict=True):
        chosen = np.arange(4)[:, None, None] == score.argmax(0)
        variant = score - LR * gradient * value * chosen
        ours = now.numpy()
        assert np.abs(ours - variant)[chosen].max() < 1e-14
        assert np.abs(ours - variant)[~chosen].min() > 1e-8


def test_the_variant_learns_other_weights():
    task = Task()
    model = task.model()
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), lr=0.3), model)
    values, scores = arrays(model)
    for _ in range(30):
        task.step(model, optimizer)
        now = [reference.best(v, s) for v, s in zip(values, scores, strict=True)]
        for tensor, gradient in enumerate(task.gradient(now)):
            chosen = np.arange(4)[:, None, None] == scores[tensor].argmax(0)
            scores[tensor] = scores[tensor] - 0.3 * gradient * values[tensor] * chosen
    variant = [reference.best(v, s) for v, s in zip(values, scores, strict=True)]
    differ = [(w.numpy() != v).mean() for w, v in zip(weights(model), variant, strict=True)]
    assert min(differ) > 0.1
