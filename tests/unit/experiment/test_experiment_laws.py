"""Power laws of losses, and how two rules' laws differ."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, t

from beyondprop.errors import UserError
from beyondprop.experiment.laws import (
    ENDLESS,
    Law,
    Points,
    common,
    costs,
    difference,
    law,
    offset,
    overlap,
    ratios,
)

SIZES = np.array([1e3, 3e3, 1e4, 3e4, 1e5])
UNITS = tuple((f"w{i}", seed) for i in range(5) for seed in range(3))


def made(
    factor: float = 2.0,
    exponent: float = 0.1,
    noise: float = 0.01,
    below: float = 0.0,
    seed: int = 0,
    stretch: float = 1.0,
) -> Points:
    x = np.repeat(SIZES, 3) * stretch
    errors = np.exp(noise * np.random.default_rng(seed).standard_normal(15))
    return Points(x, (below + factor * x**-exponent) * errors, UNITS)


def found(points: Points) -> Law:
    fitted = law(points)
    assert isinstance(fitted, Law)
    return fitted


def test_a_law_without_noise_is_found() -> None:
    fitted = found(made(noise=0))
    assert fitted.exponent.value == pytest.approx(0.1, abs=1e-12)
    assert fitted.factor == pytest.approx(2.0, rel=1e-10)
    assert (fitted.low, fitted.high) == (1e3, 1e5)
    assert fitted.at(1e4) == pytest.approx(2 * 1e4**-0.1)


def test_the_interval_is_that_of_a_line_through_the_sizes_means() -> None:
    points = made(noise=0.05)
    x, y = (np.log(each).reshape(5, 3).mean(1) for each in (points.x, points.loss))
    line = linregress(x, y)
    half = t.ppf(0.975, 3) * line.stderr
    exponent = found(points).exponent
    assert exponent.value == pytest.approx(-line.slope)
    assert (exponent.low, exponent.high) == pytest.approx((-line.slope - half, -line.slope + half))


def study(seed: int, of_sizes: float, of_seeds: float, exponent: float = 0.1) -> Points:
    """Losses whose law is as wrong at each size, for all its seeds, as a tuned rate makes it."""
    rng = np.random.default_rng(seed)
    errors = np.repeat(of_sizes * rng.standard_normal(5), 3) + of_seeds * rng.standard_normal(15)
    x = np.repeat(SIZES, 3)
    return Points(x, 2 * x**-exponent * np.exp(errors), UNITS)


@pytest.mark.parametrize("of_sizes", [0.0, 0.01, 0.03])
def test_intervals_hold_the_truth_as_often_as_they_say(of_sizes: float) -> None:
    held = [0, 0, 0]
    for seed in range(500):
        first, second = (study(2 * seed + i, of_sizes, 0.01) for i in (0, 1))
        exponent, gained = found(first).exponent, difference(first, second)
        at = costs(first, second, [1e5])
        assert not isinstance(gained, str)
        assert not isinstance(at, str)
        held[0] += exponent.low <= 0.1 <= exponent.high
        held[1] += gained.low <= 0 <= gained.high
        held[2] += at[0].low <= 1 <= at[0].high
    assert all(0.92 <= count / 500 <= 0.98 for count in held)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_units_of_measure_do_not_change_the_exponent(x_unit: float, loss_unit: float) -> None:
    points = made(noise=0.05)
    other = Points(points.x * x_unit, points.loss * loss_unit, points.units)
    assert found(other).exponent.value == pytest.approx(found(points).exponent.value, rel=1e-6)


def test_differences_are_paired() -> None:
    """Noise that both rules share leaves their difference alone."""
    first, second = made(exponent=0.12, noise=0.2), made(exponent=0.10, noise=0.2)
    gained = difference(first, second)
    assert not isinstance(gained, str)
    assert gained.value == pytest.approx(0.02)
    assert gained.high - gained.low < 1e-9
    own = found(first).exponent
    assert own.high - own.low > 0.02


def test_ratios_are_those_of_the_laws() -> None:
    first, second = made(factor=3, noise=0.05), made(exponent=0.12, noise=0.03, seed=1)
    at = ratios(first, second, [1e3, 1e5])
    assert not isinstance(at, str)
    for x, each in zip([1e3, 1e5], at, strict=True):
        assert each.value == pytest.approx(found(first).at(x) / found(second).at(x))
        assert each.low < each.value < each.high


def test_costs_are_how_much_further_the_same_loss_lies() -> None:
    first, second = made(factor=3, noise=0.05), made(exponent=0.12, noise=0.03, seed=1)
    at = costs(first, second, [1e3, 1e5])
    assert not isinstance(at, str)
    for x, each in zip([1e3, 1e5], at, strict=True):
        assert found(second).at(x / each.value) == pytest.approx(found(first).at(x))
        assert each.low < each.value < each.high


def test_no_size_is_enough_where_the_loss_does_not_fall() -> None:
    rising = made(exponent=-0.1, noise=0.0)
    at = costs(made(), rising, [1e3])
    assert not isinstance(at, str)
    assert at[0].value == ENDLESS


def test_too_few_runs_or_sizes_have_no_law() -> None:
    two = Points(
        np.repeat([1.0, 2.0], 6), np.ones(12), tuple((f"w{i // 6}", i % 6) for i in range(12))
    )
    assert "2 sizes are too few" in str(law(two))
    assert "2 sizes" in str(difference(two, two))
    assert "2 sizes" in str(ratios(two, two, [1.0]))
    assert "2 sizes" in str(costs(two, two, [1.0]))
    assert offset(two) is None


def test_only_units_that_both_have_are_compared() -> None:
    first, second = made(), made().some(UNITS[2:])
    both = common(first, second)
    assert both[0].units == both[1].units == UNITS[2:]


def test_ranges_overlap_or_do_not() -> None:
    assert overlap(made(), made(stretch=10)) == pytest.approx((1e4, 1e5))
    assert overlap(made(), made(stretch=1e3)) is None


def test_an_offset_is_resolved_only_where_the_points_show_it() -> None:
    clear = offset(made(factor=20, exponent=0.5, below=0.3, noise=0.005))
    assert clear is not None
    assert clear.low < 0.3 < clear.high
    assert offset(made(noise=0.01)) is None
    noisy = offset(made(factor=2, exponent=0.1, below=0.05, noise=0.05))
    assert noisy is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_losses_that_have_no_logarithm_are_refused(wrong: float) -> None:
    loss = np.ones(15)
    loss[3] = wrong
    with pytest.raises(UserError, match="finite loss above zero"):
        Points(np.repeat(SIZES, 3), loss, UNITS)
    with pytest.raises(UserError, match="each unit"):
        Points(np.ones(2), np.ones(2), (("a", 0), ("a", 0)))
