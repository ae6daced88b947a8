"""Learning rates are searched among trainings of which some fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from beyondprop.experiment.rates import SEARCHED, TRIAL, searched, told
from beyondprop.jobs import SERIAL, Executor, places

QUIET = Progress(disable=True)
WHY = "is not a number at learning rate"


@dataclass(frozen=True)
class Attempt:
    """A training that reaches what is given."""

    rate: float
    loss: float | None
    score: float | None

    @property
    def name(self) -> str:
        return f"at {self.rate}"

    def work(self, progress: Progress) -> dict[str, Any]:
        del progress
        made = {"validation_loss": self.loss, "validation_score": self.score}
        return made | {"rate": self.rate, TRIAL: 7.0}

    def earlier(self) -> dict[str, Any] | None:
        return None


@dataclass(frozen=True)
class Subject:
    """What reaches a loss and a score at each rate, no number at those that are not named."""

    known: dict[float, tuple[float | None, float | None]]

    def attempt(self, rate: float) -> Attempt:
        return Attempt(rate, *self.known.get(rate, (None, 0.9)))


def found(tmp_path: Path, known: dict[float, tuple[float | None, float | None]]) -> dict[str, Any]:
    with Executor(tmp_path, QUIET, places.find(SERIAL, 1)) as executor:
        (one,) = searched([Subject(known)], (0.1, 0.3, 0.9), "of a test", executor)
    return one


@pytest.mark.parametrize("wrong", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_what_has_no_number_failed_and_others_go_on(
    tmp_path: Path, wrong: float | None, place: int
) -> None:
    bad = (wrong, 0.9) if place == 0 else (0.1, wrong)
    one = found(tmp_path, {0.1: bad, 0.3: (0.4, 0.7), 0.9: bad})
    assert one["rate"] == 0.3
    assert "failed" not in one
    assert one["rates"] == [0.1, 0.3, 0.9]
    assert one[SEARCHED] == 3 * 7.0  # failed ones too


def test_where_all_fail_one_sentence_says_why(tmp_path: Path) -> None:
    one = found(tmp_path, {0.1: (math.nan, 0.5)})
    assert one["failed"].startswith(f"the validation loss {WHY} 0.1: lower the rate, or check")
    assert "\n" not in one["failed"]
    assert one[SEARCHED] % 7.0 == 0 < one[SEARCHED]


def test_a_line_says_what_is_no_number() -> None:
    reached = {"rate": 0.3, "validation_loss": 0.1, "validation_score": None}
    assert told(reached).startswith(f"learning rate 0.3 · the validation score {WHY} 0.3: lower")
