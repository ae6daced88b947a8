"""How long a training step takes, beside others in the same process."""

import gc
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.measure.step import Case, Step

BURST = 0.005
"""Seconds that a case's turn in a round lasts at least, in whole steps."""


@dataclass(frozen=True)
class StepTime:
    """The time of a case's step.

    Attributes:
        seconds: Median over the rounds.
        ratio: Time relative to the first case's, in the same round; the median over the rounds.
        quartiles: Lower and upper quartile of these ratios.
    """

    seconds: float
    ratio: float
    quartiles: tuple[float, float]


def step_time(cases: Sequence[Case], rounds: int = 50, warmup: int = 5) -> dict[str, StepTime]:
    """Time of a training step, interleaved with the other cases' steps and relative to the first.

    Each round takes one step of every case, or, where a step is very short, a few in a row, so that
    it matters little which case left its traces in the caches before. What slows the machine for a
    while slows all cases of a round alike, so ratios within rounds hold on a busy machine, where
    times do not.

    Args:
        cases: The first one is what the others are compared with: plain PyTorch, as a rule.
        rounds: Turns of each case.
        warmup: Rounds before that, not counted; one at least.

    Returns:
        Case name to its time, in the order of the cases.

    Raises:
        UserError: No cases, two of one name, or too few rounds.
    """
    return summarize(cases, list(timed_rounds(cases, rounds, warmup)))


def timed_rounds(cases: Sequence[Case], rounds: int, warmup: int) -> Iterator[list[float]]:
    """Yield the seconds that a step of each case took, round by round; for progress bars.

    Every model starts from the same random numbers, and the caller's generators are left alone.
    """
    names = [case.name for case in cases]
    if not cases or len(set(names)) < len(names):
        raise UserError(f"step_time needs cases of different names, got {names}")
    if rounds < 1 or warmup < 1:
        raise UserError(f"step_time needs rounds and warm-up, got {rounds} after {warmup}")
    steps = [_build(case) for case in cases]
    warm = [_timed_round(steps, order(len(steps), number), 1) for number in range(warmup)]
    repeats = math.ceil(BURST / statistics.median(seconds[0] for seconds in warm))
    for number in range(rounds):
        yield _timed_round(steps, order(len(steps), number), repeats)


def order(cases: int, number: int) -> list[int]:
    """Return the order of the cases in a round.

    It starts one case further in every round, and runs backwards in every second turn: each case
    comes first equally often, and none always follows the same other.
    """
    turn, start = divmod(number, cases)
    rotated = [(start + i) % cases for i in range(cases)]
    return rotated[::-1] if turn % 2 else rotated


def summarize(cases: Sequence[Case], rounds: Sequence[Sequence[float]]) -> dict[str, StepTime]:
    """Return medians and ratios from the seconds of every round."""
    return {
        case.name: _summary(
            [seconds[i] for seconds in rounds], [seconds[i] / seconds[0] for seconds in rounds]
        )
        for i, case in enumerate(cases)
    }


def _summary(seconds: list[float], ratios: list[float]) -> StepTime:
    many = ratios if len(ratios) > 1 else ratios * 2
    low, middle, high = statistics.quantiles(many, n=4, method="inclusive")
    return StepTime(statistics.median(seconds), middle, (low, high))


def _build(case: Case) -> Step:
    with generators_kept(_accelerators()):
        return case.build()


def _timed_round(steps: Sequence[Step], order: Sequence[int], repeats: int) -> list[float]:
    """Return the seconds of a step of each case, from so many in a row, taken in this order."""
    seconds = [0.0] * len(steps)
    collecting = gc.isenabled()
    with generators_kept(_accelerators()):
        gc.disable()  # it would run in whoever's step has filled up its counter
        try:
            for i in order:
                _wait()
                begun = time.perf_counter()
                for _ in range(repeats):
                    steps[i]()
                _wait()
                seconds[i] = (time.perf_counter() - begun) / repeats
        finally:
            if collecting:
                gc.enable()
    return seconds


def _wait() -> None:
    """Wait until an accelerator, if there is one, has done what it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _accelerators() -> list[torch.device]:
    found = torch.accelerator.current_accelerator(check_available=True)
    return [] if found is None else [found]
