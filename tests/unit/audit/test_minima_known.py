import math

import pytest
import torch

import beyondprop as bp
from beyondprop.audit.minima import (
    DEEP_LINEAR,
    PROBLEMS,
    TEACHER_STUDENT,
    Budget,
    Reached,
    chosen,
    reached,
)
from beyondprop.audit.minima.known import best_rate, ended
from beyondprop.errors import UserError
from beyondprop.slots import machine_of


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_global_minimum_is_zero(problem):
    start = problem.start(3)
    torch.manual_seed(3)
    teacher = problem.network()  # the first that is drawn
    with torch.no_grad():
        assert start.loss(teacher(start.inputs)).item() == 0
        assert start.loss(start.student(start.inputs)).item() > 0.1
        assert start.loss(start.targets.mean(0).expand_as(start.targets)).item() == pytest.approx(1)


def test_the_minimum_of_choices_is_among_them():
    problem = chosen(TEACHER_STUDENT)
    start = problem.start(3)
    machine = machine_of(start.student)
    one, other = problem.start(3), problem.start(4)
    assert torch.equal(one.targets, start.targets)
    assert not torch.equal(other.targets, start.targets)
    found = problem.teacher(3)
    for reel, name in zip(machine.reels, ("0.weight", "2.weight", "4.weight"), strict=True):
        options = reel.source.all_values(reel.parameter)  # (8, out, in)
        weights = found.get_parameter(name)
        assert (options == weights).any(0).all()
    with torch.no_grad():
        assert start.loss(found(start.inputs)).item() == 0


def test_backprop_reaches_the_minimum_of_a_deep_linear_network_and_frozen_does_not():
    budget = Budget(starts=2, steps=150, rates=(0.03,), tuning=1)
    found = reached(DEEP_LINEAR, bp.Backprop(), budget)
    assert found.share == 1
    assert not found.edge
    frozen = reached(TEACHER_STUDENT, bp.Frozen(), budget)
    assert frozen.share == 0
    assert (found.problem, found.rule, frozen.rule) == ("deep linear", "backprop", "frozen")


def test_a_start_ends_the_same_every_time():
    ends = [ended(DEEP_LINEAR, bp.DirectFeedbackAlignment(), 1, 5, 0.01) for _ in range(2)]
    assert ends[0] == ends[1] != ended(DEEP_LINEAR, bp.DirectFeedbackAlignment(), 2, 5, 0.01)


def test_choices_are_learned_by_their_scores():
    before = ended(chosen(DEEP_LINEAR), bp.Backprop(), 0, 1, 1e-9)
    assert ended(chosen(DEEP_LINEAR), bp.Backprop(), 0, 60, 0.03) < before


def test_a_rule_that_cannot_teach_it_says_why():
    with pytest.raises(UserError):
        ended(TEACHER_STUDENT, bp.ForwardForward(), 0, 1, 0.01)


def test_the_share_has_wilsons_interval():
    found = Reached("p", "r", 0.01, (0.0,) * 5 + (1.0,) * 4 + (math.inf,), 0.1, False)
    assert found.share == 0.5
    assert found.interval == pytest.approx((0.2366, 0.7634), abs=1e-4)
    none = Reached("p", "r", 0.01, (1.0,) * 10, 0.1, False)
    assert none.interval == pytest.approx((0, 0.2775), abs=1e-4)


def test_the_grid_moves_to_where_the_best_rate_lies():
    tried = []

    def loss(best):
        def of(rate):
            tried.append(rate)
            return abs(math.log(rate / best))

        return of

    assert best_rate((0.1, 0.2, 0.3), loss(0.2)) == (0.2, False)
    assert tried == [0.1, 0.2, 0.3]
    assert best_rate((1.0, 3.0), loss(9)) == (9.0, False)
    assert best_rate((1.0, 3.0), loss(1e-3)) == (pytest.approx(1 / 27), True)
    assert best_rate((1.0,), loss(9)) == (1.0, False)
