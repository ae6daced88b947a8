"""No gradient changes with the structure of the library: every rule on every module, in float64."""

import json

import pytest

from tests.golden.figures import FILE, PAIRS, figures

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize(("case", "rule"), PAIRS, ids=[f"{c}-{r}" for c, r in PAIRS])
def test_gradients_are_what_they_were(case, rule):
    """To the last digits alone, as other processors sum in another order."""
    product, norm, count = figures(case, rule)
    expected = GOLDEN[f"{case} {rule}"]
    assert count == expected[2]
    assert norm == pytest.approx(expected[1], rel=1e-9, abs=1e-12)
    assert product == pytest.approx(expected[0], rel=1e-9, abs=1e-9 * max(1.0, norm))


def test_every_figure_belongs_to_a_pair():
    assert {f"{case} {rule}" for case, rule in PAIRS} == GOLDEN.keys()
