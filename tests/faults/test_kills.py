"""A hundred kills at random moments: what is resumed ends with the bytes of an unbroken run."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks.faults import kills
from benchmarks.faults.tally import Tally
from benchmarks.faults.ways import PIPELINE, Way

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]


def test_there_are_a_hundred() -> None:
    assert sum(times * folders for _, times, folders in kills.PLAN) == 100


@pytest.mark.parametrize(
    "plan", kills.PLAN, ids=[f"{way.name}-{times}" for way, times, _ in kills.PLAN]
)
def test_what_was_killed_ends_with_the_same_bytes(plan: tuple[Way, int, int]) -> None:
    way, times, folders = plan
    if way is PIPELINE and not torch.distributed.is_gloo_available():
        pytest.skip("this PyTorch was built without gloo")
    tally = Tally()
    kills.attack(tally, [plan])
    assert tally.faults == []
    assert tally.right == times * folders
