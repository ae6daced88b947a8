from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from beyondprop import tasks
from beyondprop.audit.base import Audited
from beyondprop.audit.calibration import (
    Calibration,
    Forecasts,
    brier,
    calibration,
    calibration_error,
    equal_mass,
    equal_width,
    error_by_chance,
    error_interval,
    greatest_error,
    logits_and_targets,
    mean_interval,
    negative_log_likelihood,
    reliability,
)
from beyondprop.audit.logits import as_logits
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bars
from beyondprop.tasks import Split


def forecasts(sure: list[float], came: list[int]) -> Forecasts:
    return Forecasts(np.array(sure), np.array(came, bool))


HAND = forecasts([0.1, 0.2, 0.6, 0.8, 0.9], [0, 1, 1, 1, 0])
"""In two bins: two forecasts of 0.15, half came true; three of 23/30, two thirds came true."""


def drawn(count: int, power: float = 1.0) -> Forecasts:
    """Forecasts that are calibrated, or where the power isn't 1 are not."""
    draw = np.random.default_rng(0)
    sure = draw.uniform(size=count)
    return Forecasts(sure, draw.uniform(size=count) < sure**power)


def test_the_curve_and_the_errors_by_hand() -> None:
    low, high = reliability(HAND, bins=2)
    assert (low["count"], high["count"]) == (2, 3)
    assert low["confidence"] == pytest.approx(0.15)
    assert high["confidence"] == pytest.approx(2.3 / 3)
    assert (low["accuracy"], high["accuracy"]) == (0.5, pytest.approx(2 / 3))
    assert calibration_error(HAND, bins=2) == pytest.approx((2 * 0.35 + 3 * 0.1) / 5)
    assert greatest_error(HAND, bins=2) == pytest.approx(0.35)


def test_empty_bins_are_left_out() -> None:
    assert [each["count"] for each in reliability(HAND, bins=10)] == [1, 1, 1, 1, 1]


def test_a_bin_holds_its_upper_end() -> None:
    assert equal_width(np.array([0, 0.2, 0.25, 0.3, 0.5, 0.51, 1]), 4).tolist() == [
        0,
        0,
        0,
        1,
        1,
        2,
        3,
    ]


def test_bins_of_equal_mass_hold_as_many() -> None:
    sure = np.array([0.99, 0.1, 0.98, 0.97, 0.96, 0.95, 0.94])
    assert equal_mass(sure, 3).tolist() == [2, 0, 2, 1, 1, 0, 0]
    assert np.bincount(equal_mass(np.zeros(10), 5)).tolist() == [2] * 5


def test_equal_mass_sees_what_equal_width_averages_away() -> None:
    two = forecasts([0.91, 0.91, 0.99, 0.99], [1, 1, 0, 1])
    assert calibration_error(two, 10) == pytest.approx(0.2)
    assert calibration_error(two, 2, equal_mass) == pytest.approx((0.09 + 0.49) / 2)


def test_one_who_is_always_sure_and_half_right() -> None:
    sure = forecasts([1.0] * 4, [1, 0, 1, 0])
    assert calibration_error(sure) == greatest_error(sure) == 0.5


def test_brier_and_likelihood_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    targets = torch.tensor([0, 2])
    torch.testing.assert_close(brier(probabilities, targets), torch.tensor([0.14, 2.0]))
    torch.testing.assert_close(
        brier(torch.tensor([0.7, 0.2]), torch.tensor([1, 0])), torch.tensor([0.09, 0.04])
    )
    logits = torch.tensor([[math.log(3.0), 0.0]])
    found = negative_log_likelihood(logits, torch.tensor([0]))
    assert found.item() == pytest.approx(math.log(4 / 3))


def test_of_two_classes_the_brier_score_is_twice_that_of_class_1() -> None:
    positive, targets = torch.rand(20), torch.arange(20) % 2
    both = torch.stack([1 - positive, positive], dim=1)
    torch.testing.assert_close(brier(both, targets), 2 * brier(positive, targets))


def test_one_logit_is_two_classes() -> None:
    odds = torch.tensor([[2.0], [-1.0]])
    torch.testing.assert_close(as_logits(odds).softmax(1)[:, 1], odds.squeeze(1).sigmoid())
    torch.testing.assert_close(as_logits(odds.squeeze(1)), as_logits(odds))
    with pytest.raises(UserError, match=r"must be \(n, classes\), not \(2, 3, 4\)"):
        as_logits(torch.zeros(2, 3, 4))
    with pytest.raises(UserError, match="real numbers, not a tensor of int64"):
        as_logits(torch.zeros(2, 3, dtype=torch.int64))


def test_chance_explains_the_error_of_calibrated_forecasts_and_of_no_others() -> None:
    right, wrong = drawn(2000), drawn(2000, power=1.5)
    low, high = error_by_chance(right)
    assert low < calibration_error(right) < high
    assert calibration_error(wrong) > error_by_chance(wrong)[1]


def test_the_interval_holds_the_true_error() -> None:
    """Of forecasts p that come true with p**1.5 it is the mean of p - p**1.5, 0.1."""
    low, high = error_interval(drawn(2000, power=1.5), bins=10)
    assert low < 0.1 < high
    assert high - low < 0.06
    assert error_interval(drawn(2000))[0] < 0.01


def test_the_interval_of_a_mean_is_about_two_standard_errors() -> None:
    values = torch.linspace(0, 1, 400)
    low, high = mean_interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std().item() / 20, rel=0.1)
    assert (low + high) / 2 == pytest.approx(0.5, abs=0.005)


def test_a_seed_gives_one_interval() -> None:
    assert error_interval(HAND, seed=3) == error_interval(HAND, seed=3)
    assert mean_interval(np.arange(9.0), seed=1) == mean_interval(np.arange(9.0), seed=1)


def test_what_are_no_forecasts_is_refused() -> None:
    with pytest.raises(UserError, match="must be probabilities between 0 and 1"):
        forecasts([1.2], [1])
    with pytest.raises(UserError, match="got 0 forecasts"):
        forecasts([], [])


def test_two_classes_have_a_curve_of_class_1_too() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, -3.0]]).repeat(10, 1)
    found = calibration(logits, torch.tensor([1, 0]).repeat(10), resamples=20)
    curve = found["positive"]["equal_width"]["curve"]
    assert [each["accuracy"] for each in curve] == [0, 1]
    assert found["named"]["equal_width"]["curve"][0]["accuracy"] == 1


def test_the_section_answers_of_the_whole_test_split() -> None:
    task = tasks.find("digits-mlp")
    audited = Audited("backprop", task, task.load(None), 0, task.model)
    with bars() as progress:
        answer = Calibration(resamples=50).ask(audited, progress)
    assert answer["samples"] == 360
    assert answer["positive"] is None
    error = answer["named"]["equal_width"]
    assert sum(each["count"] for each in error["curve"]) == 360
    assert f"error is {error['error']:.1%}" in answer["verdict"]
    assert json.loads(json.dumps(answer)) == answer


def test_the_section_refuses_what_are_no_classes() -> None:
    samples = Split(torch.rand(4, 2), torch.rand(4, 1))
    with pytest.raises(UserError, match="calibration needs classes"):
        logits_and_targets(nn.Linear(2, 1), samples)
    samples = Split(torch.rand(4, 2), torch.tensor([0, 1, 2, 5]))
    with pytest.raises(UserError, match="there is a class 5, but only 3 logits"):
        logits_and_targets(nn.Linear(2, 3), samples)
