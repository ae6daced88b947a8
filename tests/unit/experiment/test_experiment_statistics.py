"""Intervals and tests of few seeds, compared with SciPy's and with simulated coverage."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import beyondprop as bp
from beyondprop.experiment.statistics import (
    bootstrap,
    chance,
    differences,
    fieller,
    holm,
    paired,
)

NUMBERS = st.floats(-100, 100).map(lambda x: round(x, 3))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=8)


@given(PAIRS)
def test_pairs_are_compared_as_by_scipy(pairs):
    first, second = map(list, zip(*pairs, strict=True))
    apart = [a - b for a, b in pairs]
    if max(apart) - min(apart) < 1e-3:
        return
    theirs = stats.ttest_rel(first, second)
    low, high = theirs.confidence_interval(0.95)
    mine = paired(first, second)
    assert (mine.low, mine.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert chance(apart) == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)


def test_splits_that_overlap_widen_the_interval():
    """Nadeau and Bengio: of ten splits with a tenth for the test, 1/10 + 1/9 in place of 1/10."""
    scores = [1.0, 2.0, 4.0, 3.0, 5.0, 2.0, 1.0, 3.0, 4.0, 2.0]
    plain, wide = paired(scores), paired(scores, overlap=1 / 9)
    ratio = (wide.high - wide.low) / (plain.high - plain.low)
    assert ratio == pytest.approx(math.sqrt((1 / 10 + 1 / 9) / (1 / 10)))


def test_fieller_agrees_with_the_test_it_inverts():
    """At its ends the hypothesis "gain = r whole" is just rejected."""
    gain, whole = [2.1, 1.7, 2.6, 2.0, 1.9], [3.0, 2.9, 3.6, 3.1, 2.7]
    found = fieller(gain, whole)
    assert found.value == pytest.approx(sum(gain) / sum(whole))
    for end in (found.low, found.high):
        apart = [g - end * w for g, w in zip(gain, whole, strict=True)]
        assert stats.ttest_1samp(apart, 0).pvalue == pytest.approx(0.05, abs=1e-9)


def test_fieller_covers_what_it_says():
    draw, covered, bounded = random.Random(0), 0, 0
    for _ in range(2000):
        whole = [draw.gauss(5, 1) for _ in range(4)]
        gain = [0.6 * w + draw.gauss(0, 0.5) for w in whole]
        found = fieller(gain, whole)
        if found is not None:
            bounded += 1
            covered += found.low <= 0.6 <= found.high
    assert bounded > 1900
    assert 0.93 < covered / bounded < 0.97


def test_a_denominator_that_may_be_zero_has_no_ratio():
    assert fieller([1.0, 2.0, 3.0], [1.0, -1.0, 0.5]) is None
    assert fieller([1.0], [2.0]) is None
    assert paired([1.0]) is None


def test_holm_keeps_the_order_and_multiplies():
    found = holm({("a", "b"): 0.01, ("a", "c"): 0.04, ("b", "c"): 0.03})
    assert found == {
        ("a", "b"): pytest.approx(0.03),
        ("b", "c"): pytest.approx(0.06),
        ("a", "c"): pytest.approx(0.06),
    }


def test_real_differences_are_told_from_noise():
    draw = random.Random(0)
    seeds = [draw.gauss(0, 1) for _ in range(5)]
    scores = {
        "backprop": [90 + s + draw.gauss(0, 0.1) for s in seeds],
        "dfa": [85 + s + draw.gauss(0, 0.1) for s in seeds],
        "drtp": [85 + s + draw.gauss(0, 0.1) for s in seeds],
    }
    found = {(d.first, d.second): d.real for d in differences(scores)}
    assert found == {("backprop", "dfa"): True, ("backprop", "drtp"): True, ("dfa", "drtp"): False}


def test_equal_scores_do_not_differ():
    (found,) = differences({"a": [1.0, 2.0], "b": [1.0, 2.0]})
    assert found.p == 1
    assert not found.real


def test_scores_that_agree_by_rounding_alone_decide_little():
    """Two images of 360 in each of three seeds, whose variance is none, and not known."""
    scores = {"a": [0.98, 0.975, 0.97], "b": [0.98 - 2 / 360, 0.975 - 2 / 360, 0.97 - 2 / 360]}
    scores["c"] = [0.97, 0.98, 0.975]
    pairs = {(d.first, d.second): d for d in differences(scores, resolution=1 / 360)}
    assert differences(scores)[0].p == 0
    assert pairs["a", "b"].p > 0.04
    width = pairs["a", "b"].interval.high - pairs["a", "b"].interval.low
    assert width == pytest.approx(2 * 4.302653 * (1 / 360) / 18**0.5, rel=1e-6)


def test_a_bootstrap_of_few_units_is_refused():
    with pytest.raises(bp.UserError, match="Student's interval"):
        bootstrap([1.0, 2.0, 3.0])
    found = bootstrap([float(i) for i in range(20)])
    assert found.low < found.value < found.high
    assert found == bootstrap([float(i) for i in range(20)])


def test_pairs_need_as_many_scores():
    with pytest.raises(bp.UserError, match="equal numbers of scores"):
        paired([1.0, 2.0], [1.0])
