"""Gradients are those of the day when ``gradients.json`` was recorded.

Record an intended change with ``python -m tests.golden.make``, and give the reason in its commit.
"""

import json

import pytest

from tests.contract.teaching import every
from tests.golden.make import FILE
from tests.golden.values import PAIRS, numbers, values

RECORDED = json.loads(FILE.read_text())

# Of the norm. Processors and their libraries add floats in different orders, so that the last
# digits of float64 may differ; on one machine `tests.golden.compare` sees the last bit.
RTOL = 1e-10


@every
def test_gradients_are_those_recorded(case, rule):
    found = {key: numbers(tensors) for key, tensors in values(case, rule).items()}
    recorded = RECORDED[rule][case.name]
    assert found.keys() == recorded.keys()
    for key, (projection, norm, nones) in recorded.items():
        assert found[key][2] == nones, f"{key}: other tensors are None"
        close = pytest.approx((projection, norm), rel=0, abs=RTOL * norm)
        assert found[key][:2] == close, key


def test_every_pair_is_recorded_and_no_other():
    pairs = {(case, rule) for rule, cases in RECORDED.items() for case in cases}
    assert pairs == {(case.name, rule) for case, rule in PAIRS}
