"""Three hundred bad inputs, each refused in one sentence, soon, and with nothing left behind."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.faults import bad_inputs
from benchmarks.faults.children import peak
from benchmarks.faults.tally import Tally

pytestmark = pytest.mark.slow


def test_bad_inputs_are_refused_in_one_sentence() -> None:
    tally = Tally()
    bad_inputs.attack(tally)
    assert tally.faults == []
    assert tally.right == 0
    assert tally.refused >= 300
    assert tally.slowest < 10  # seconds of computing


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_no_input_took_memory() -> None:
    """By the end of the tests of this file, in this process."""
    assert peak(os.getpid()) < 2048
