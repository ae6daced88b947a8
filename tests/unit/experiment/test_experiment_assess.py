from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD

from beyondprop.engine.attach import attach
from beyondprop.experiment.assess import trouble
from beyondprop.experiment.checkpoint import TrainingState
from beyondprop.rules import Backprop
from beyondprop.tasks.order import order


def test_the_order_is_of_seed_and_epoch_alone() -> None:
    torch.manual_seed(0)
    first = order(3, 7, 50)
    torch.manual_seed(1)
    assert torch.equal(order(3, 7, 50), first)
    assert first.sort().values.tolist() == list(range(50))
    for seed, epoch in ((3, 8), (4, 7), (7, 3)):
        assert not torch.equal(order(seed, epoch, 50), first)


def state(*losses: list[float], validation: float = 1.0, score: float = 0.5) -> TrainingState:
    model = nn.Linear(1, 1)
    curve = [{"validation_loss": validation, "validation_score": score}]
    optimizer = SGD(model.parameters(), lr=1.0)
    handle = attach(model, Backprop())
    return TrainingState(model, handle, optimizer, [torch.tensor(epoch) for epoch in losses], curve)


@pytest.mark.parametrize(
    ("began", "ended", "absurd"),
    [(2.3, 2299.0, False), (2.3, 1e22, True), (1e-6, 900.0, False), (1e-6, 1100.0, True)],
)
def test_a_training_whose_loss_is_absurd_has_diverged(
    began: float, ended: float, absurd: bool
) -> None:
    found = state([1.0], validation=ended)
    found.curve.insert(0, {"validation_loss": began, "validation_score": 0.1})
    assert (trouble(found) is not None) == absurd
    if absurd:
        said = f"the validation loss grew from {began:.4g} to {ended:.4g} by epoch 1"
        assert trouble(found) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (state(), None),
        (state([1.0, 2.0], [3.0]), None),
        (state([1.0, 2.0], [3.0, math.nan, math.inf]), "loss became nan at step 4 (epoch 2)"),
        (state([-math.inf]), "the training loss was -inf before the first step"),
        (state(validation=math.nan), "the validation loss was nan before the first step"),
        (state([1.0], validation=math.inf), "validation loss became inf after epoch 1"),
        (state([1.0], score=math.nan), "validation score became nan after epoch 1"),
    ],
)
def test_trouble(found: TrainingState, said: str | None) -> None:
    reason = trouble(found)
    assert reason is None if said is None else reason is not None and reason.endswith(said)
