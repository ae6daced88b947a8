"""One number a weight learns what K scores learn, and both what the papers' equations say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beyondprop import slots
from tests.reference import slots as reference
from tests.unit.slots.internals import Accumulator, FullScores, arrays, scores_of, weights
from tests.unit.slots.networks import Task

STEPS = 300


def falling(step):
    return 0.3 / (1 + step // 50)


CASES = {
    "plain": {"lr": 0.5},
    "momentum": {"lr": 0.1, "momentum": 0.9},
    "nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "weight decay": {"lr": 0.2, "weight_decay": 0.02},
    "dampening": {"lr": 0.4, "momentum": 0.8, "dampening": 0.5},
    "all": {"lr": 0.2, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01},
    "nesterov with decay": {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    "changing rate": {"lr": falling, "momentum": 0.9, "weight_decay": 0.01},
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_weights_at_every_step(case):
    rate, rest = CASES[case]["lr"], {k: v for k, v in CASES[case].items() if k != "lr"}
    rate = rate if callable(rate) else lambda _, rate=rate: rate
    task = Task()
    one, all_k = task.model(), task.model()
    values, scores = arrays(one)
    velocities = [None] * len(values)
    drivers = [
        drive(torch.optim.SGD(model.parameters(), lr=rate(0), **rest), model)
        for drive, model in ((slots.drive, one), (slots.drive_scores, all_k))
    ]
    assert all(type(s) is Accumulator for s in scores_of(one))
    assert all(type(s) is FullScores for s in scores_of(all_k))
    before, moved = weights(one), 0
    for step in range(STEPS):
        for optimizer, model in zip(drivers, (one, all_k), strict=True):
            optimizer.param_groups[0]["lr"] = rate(step)
            task.step(model, optimizer)
        reference.slot_machine_step(
            values, scores, velocities, task.gradient, lr=rate(step), **rest
        )
        expected = [reference.best(v, s) for v, s in zip(values, scores, strict=True)]
        for a, b, c in zip(weights(one), weights(all_k), expected, strict=True):
            assert torch.equal(a, b), step
            assert torch.equal(a, torch.from_numpy(c)), step
        moved += sum(int((a != b).sum()) for a, b in zip(before, weights(one), strict=True))
        before = weights(one)
    assert moved > 50  # weights that took another value
    for accumulated, plain, slow in zip(scores_of(one), scores_of(all_k), scores, strict=True):
        assert (accumulated.all_scores() - plain.tensor).abs().max() < 1e-12
        assert (plain.tensor - torch.from_numpy(slow)).abs().max() < 1e-12


@settings(max_examples=25, deadline=None)
@given(
    st.floats(1e-3, 1.0),
    st.sampled_from([0.0]) | st.floats(0.1, 0.95),
    st.booleans(),
    st.sampled_from([0.0]) | st.floats(1e-4, 0.3),
    st.floats(0.0, 0.9),
    st.integers(2, 9),
    st.integers(0, 2**63 - 1),
)
def test_for_any_setting(lr, momentum, nesterov, decay, dampening, k, seed):
    nesterov = nesterov and momentum > 0
    options = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    options["dampening"] = 0.0 if nesterov else dampening
    task = Task()
    models = [task.model(k, seed) for _ in range(2)]
    drivers = [
        drive(torch.optim.SGD(model.parameters(), **options), model)
        for drive, model in zip((slots.drive, slots.drive_scores), models, strict=True)
    ]
    for _ in range(40):
        for optimizer, model in zip(drivers, models, strict=True):
            task.step(model, optimizer)
        for a, b in zip(*map(weights, models), strict=True):
            assert torch.equal(a, b)
    for accumulated, plain in zip(*map(scores_of, models), strict=True):
        assert torch.allclose(accumulated.all_scores(), plain.tensor, rtol=1e-12, atol=1e-12)


def test_float32_rounds_few_weights_differently():
    """Scores near a tie may round to either side; what each does then stays the same."""
    task = Task(torch.float32, sizes=(30, 50, 10), samples=100)
    models = [task.model(8) for _ in range(2)]
    drivers = [
        drive(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3), model)
        for drive, model in zip((slots.drive, slots.drive_scores), models, strict=True)
    ]
    begun = weights(models[0])
    for _ in range(150):
        for optimizer, model in zip(drivers, models, strict=True):
            task.step(model, optimizer)
    one, all_k = map(weights, models)
    total = sum(w.numel() for w in one)
    differ = sum(int((a != b).sum()) for a, b in zip(one, all_k, strict=True))
    changed = sum(int((a != b).sum()) for a, b in zip(one, begun, strict=True))
    assert differ <= 0.01 * total
    assert changed > 0.2 * total


def test_a_model_goes_on_with_all_scores():
    """From SGD to Adam: what was learned in one number is learned by K scores."""
    task = Task()
    model = task.model()
    sgd = slots.drive(torch.optim.SGD(model.parameters(), lr=0.3), model)
    for _ in range(20):
        task.step(model, sgd)
    learned, before = [s.all_scores() for s in scores_of(model)], weights(model)
    adam = slots.drive(torch.optim.Adam(model.parameters(), lr=0.0), model)
    assert all(type(s) is FullScores for s in scores_of(model))
    task.step(model, adam)
    for scores, expected in zip(scores_of(model), learned, strict=True):
        assert torch.equal(scores.tensor, expected)
    for a, b in zip(weights(model), before, strict=True):
        assert torch.equal(a, b)


def test_a_second_optimizer_begins_without_the_first_ones_momentum():
    task = Task()
    models = [task.model() for _ in range(2)]
    for _ in range(2):
        for drive, model in zip((slots.drive, slots.drive_scores), models, strict=True):
            sgd = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=0.05)
            optimizer = drive(sgd, model)
            for _ in range(15):
                task.step(model, optimizer)
        for accumulated, plain in zip(*map(scores_of, models), strict=True):
            assert torch.allclose(accumulated.all_scores(), plain.tensor, rtol=0, atol=1e-13)
        for a, b in zip(*map(weights, models), strict=True):
            assert torch.equal(a, b)
