"""Full disks, such as are only read, and folders that vanish: told, and nothing lost."""

from __future__ import annotations

import sys

import pytest

from benchmarks.faults import disks
from benchmarks.faults.tally import Tally
from benchmarks.faults.ways import COMPARE, PIPELINE, TRAIN, Way

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="made of what Linux has"),
]
EACH = pytest.mark.parametrize("way", [TRAIN, COMPARE], ids=lambda way: way.name)


@EACH
def test_when_there_is_room_again_work_goes_on(way: Way) -> None:
    tally = Tally()
    disks.full(tally, [way])
    assert tally.faults == []
    assert tally.refused
    if tally.skipped:
        pytest.skip("; ".join(tally.skipped))


@EACH
def test_what_may_only_be_read_is_told_and_stays(way: Way) -> None:
    tally = Tally()
    disks.read_only(tally, [way])
    assert tally.faults == []
    assert tally.tried == 4


@pytest.mark.parametrize("way", [TRAIN, COMPARE, PIPELINE], ids=lambda way: way.name)
def test_a_folder_that_vanishes_is_told(way: Way) -> None:
    tally = Tally()
    disks.vanishing(tally, 0, [way])
    assert tally.faults == []
