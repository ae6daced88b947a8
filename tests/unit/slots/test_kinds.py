"""How a value is chosen: the best, or one drawn again for every forward pass in training."""

import pytest
import torch
from torch import nn

from beyondprop import UserError, slots
from beyondprop.slots import Greedy, Reels, Sampled
from tests.unit.slots.internals import FullScores, moved, reels, scores_of, weights
from tests.unit.slots.networks import Task


def sampled(task):
    return task.model(Reels(4, Sampled(), linear_scores=10.0))


def best_weights(model):
    """Return the values with the highest scores."""
    found = []
    for scores in scores_of(model):
        best = scores.tensor.argmax(0, keepdim=True)
        found.append(scores.values().gather(0, best).squeeze(0))
    return found


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_greedy_takes_the_first_of_equal_scores():
    scores = torch.tensor([[1.0, 0, 2, -1], [1, 3, 2, -2], [0, 3, 2, -1]])
    assert Greedy().slots(scores).tolist() == [0, 1, 0, 0]
    assert Greedy().slots(scores).dtype is torch.int64
    assert Greedy().slots(torch.zeros(5, 2, 3)).tolist() == [[0] * 3] * 2


def test_greedy_leaves_the_scores_alone():
    scores = torch.randn(3, 7)
    before = scores.clone()
    Greedy().slots(scores)
    Sampled().slots(scores)
    assert torch.equal(scores, before)


def test_drawn_slots_follow_the_softmax():
    n = 40_000
    column = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.9])
    drawn = Sampled().slots(column[:, None].expand(5, n))
    assert drawn.shape == (n,)
    assert drawn.dtype is torch.int64
    share = torch.bincount(drawn, minlength=5) / n
    expected = column.softmax(0)
    deviation = (expected * (1 - expected) / n).sqrt()
    assert ((share - expected).abs() < 4 * deviation).all()


def test_places_are_drawn_apart():
    n = 40_000
    drawn = Sampled().slots(torch.zeros(2, n))
    together = (drawn[1:] == drawn[:-1]).float().mean()
    assert abs(together - 0.5) < 4 * 0.5 / n**0.5


def test_drawn_by_the_global_generator():
    scores = torch.randn(4, 1000)
    torch.manual_seed(5)
    one = Sampled().slots(scores)
    assert not torch.equal(one, Sampled().slots(scores))
    torch.manual_seed(5)
    assert torch.equal(one, Sampled().slots(scores))


def test_drawn_anew_in_training_and_the_best_elsewhere():
    task = Task()
    model = sampled(task)
    best = best_weights(model)
    assert same(weights(model), best)  # before any pass
    seen = []
    for _ in range(3):
        model(task.x)
        seen.append(weights(model))
        values = [scores.values() for scores in scores_of(model)]
        for weight, value in zip(seen[-1], values, strict=True):
            assert (value == weight).any(0).all()  # each is one of its values
    assert not same(seen[0], seen[1])
    assert not same(seen[1], seen[2])
    assert not same(seen[2], best)

    saved = list(model.state_dict().values())
    assert same(saved, best)
    model(task.x)
    out = model.eval()(task.x)
    assert same(weights(model), best)
    assert torch.equal(out, model(task.x))
    assert not torch.equal(out, model.train()(task.x))


def test_the_pass_and_its_gradient_are_of_the_drawn_weights():
    task = Task()
    model = sampled(task)
    model(task.x).square().sum().div(2).backward()
    first, last = weights(model)
    hidden = torch.tanh(task.x @ first.T)
    expected = (hidden @ last.T).T @ hidden
    assert torch.allclose(model[2].weight.grad, expected, rtol=1e-12)


def test_scores_learn_by_drawn_weights():
    """A step moves every score by the gradient of the drawn weights times its value."""
    task = Task()
    model = sampled(task)
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), lr=0.5), model)
    assert all(type(scores) is FullScores for scores in scores_of(model))
    before = [tensor.clone() for tensor in moved(model)]
    task.step(model, optimizer)
    for reel, score in zip(reels(model), before, strict=True):
        expected = score - 0.5 * reel.parameter.grad * reel.scores.values()
        assert torch.allclose(reel.scores.tensor, expected, rtol=1e-12, atol=1e-14)
    assert same(weights(model), best_weights(model))


@pytest.mark.parametrize("end", [slots.freeze, slots.finetune])
def test_what_is_left_at_the_end_is_the_best(end):
    task = Task()
    model = sampled(task)
    best = best_weights(model)
    model(task.x)
    end(model)
    model(task.x)
    assert same([model[0].weight, model[2].weight], best)


def test_greedy_draws_nothing():
    task = Task()
    model = task.model()
    state = torch.get_rng_state()
    model(task.x)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("count", [1, 0, -3, 2**16 + 1, 2.0, True, "8", None])
def test_slots_that_are_none(count):
    with pytest.raises(UserError, match="whole number from 2"):
        Reels(count)


def test_a_kind_brings_its_own_selection():
    with pytest.raises(UserError, match=r"pass the selection to the kind"):
        slots.convert(nn.Linear(2, 2), Reels(4), Sampled())
