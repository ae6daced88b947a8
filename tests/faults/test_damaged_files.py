"""Five thousand damaged files: each reads to what was written, or is refused in one sentence."""

from __future__ import annotations

import pytest

from benchmarks.faults import damaged_files
from benchmarks.faults.tally import Tally

pytestmark = pytest.mark.slow


def test_no_damaged_file_is_read_as_something_else() -> None:
    tally = Tally()
    damaged_files.attack(tally)
    assert tally.faults == []
    assert tally.tried == 5000
    assert tally.slowest < 10
