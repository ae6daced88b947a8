"""Eight threads at once by every rule, to the bit."""

from __future__ import annotations

import pytest

import beyondprop as bp
from benchmarks.faults import threads
from benchmarks.faults.tally import Tally

pytestmark = pytest.mark.slow


def test_eight_threads_get_the_gradients_of_one() -> None:
    tally = Tally()
    threads.attack(tally)
    assert tally.faults == []
    assert tally.right == 2 * len(bp.rules.RULES)
