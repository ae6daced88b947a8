"""The time of a training step, compared with others in the same process."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop._torch.pytrees import leaves
from beyondprop.core import Rule
from beyondprop.engine.attach import attach
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.measure.base import Column, Figures, Measure, MeasureTraits, Step, Subject, given
from beyondprop.slots import driven
from beyondprop.tasks import call, taught

BURST = 0.005
"""Minimum seconds of a case's turn in a round; turns consist of complete steps."""


@dataclass(frozen=True)
class Case:
    """A case to measure together with others.

    Attributes:
        name: Its name in the results.
        build: Builds a new model and returns its step, for example ``functools.partial(rule_step,
            ...)``.
    """

    name: str
    build: Callable[[], Step]


@dataclass(frozen=True)
class StepTime:
    """The time of a case's step.

    Attributes:
        seconds: Median over the rounds.
        ratio: Median over the rounds of the time relative to the first case in the same round.
        quartiles: Lower and upper quartile of these ratios.
    """

    seconds: float
    ratio: float
    quartiles: tuple[float, float]


def rule_step(
    model: Callable[[], nn.Module],
    rule: Rule | None,
    inputs: Any,
    targets: Any,
    loss: Callable[[Any, Any], Tensor],
    optimizer: Callable[[Iterable[Parameter], float], Optimizer],
    learning_rate: float,
    blocks: Sequence[str | Sequence[str]] | None = None,
    output: str | None = None,
    axes: str | Mapping[str, str] | None = None,
) -> Step:
    """Build a model, attach a rule to it, and return one step of the ordinary training loop.

    Args:
        model: Builds the model, with draws from PyTorch's global generator.
        rule: The rule to attach; None for plain PyTorch with nothing attached.
        inputs: One batch, on the device to compute on.
        targets: Its targets, on the same device.
        loss: (outputs, targets) to a scalar.
        optimizer: (parameters, learning rate) to an optimizer.
        learning_rate: For the optimizer.
        blocks: Names or patterns of the blocks, see `attach`.
        output: Name of the module whose output carries the error, see `attach`.
        axes: What the axes of the blocks' outputs mean, see `attach`.
    """
    network = model().to(next(leaves(inputs)).device).train()
    handle = None if rule is None else attach(network, rule, blocks, axes=axes, output=output)
    learned = [] if handle is None else handle.parameters()
    update = driven(optimizer([*network.parameters(), *learned], learning_rate), network)

    def plain() -> None:
        update.zero_grad()
        loss(call(network, inputs), targets).backward()
        update.step()

    if handle is None:
        return plain

    def by_rule() -> None:
        update.zero_grad()
        with taught(handle, targets):
            value = loss(call(network, inputs), targets)
        value.backward()
        update.step()

    return by_rule


@dataclass(frozen=True)
class StepTimeMeasure(Measure):
    """Time of a training step, relative to plain PyTorch backprop.

    Known answers: plain PyTorch has a ratio of 1. Times never repeat exactly.

    Args:
        rounds: Maximum number of turns for each case.
        warmup: Rounds before that, not counted.
        seconds: Time after which no more rounds start, once `fewest` are done.
        fewest: Minimum number of rounds.
    """

    name = "step-time"
    title = "Step time"
    about = (
        "The time of one training step, forward, backward and update, measured in turn with plain"
        " PyTorch backprop in the same process. 0.80× is a fifth less time."
    )
    traits = MeasureTraits(frozenset({"step", "plain_step"}), repeats=False)
    columns = (
        Column(
            "step_ratio",
            "step time",
            "relative to backprop in plain PyTorch",
            unit="×",
            cost=True,
            beside=(
                Column("step_seconds", "step time", unit="s"),
                Column("step_quartiles", "middle half of the measurements", unit="×"),
            ),
        ),
    )

    rounds: int = 300
    warmup: int = 10
    seconds: float = 10.0
    fewest: int = 20

    def run(self, subject: Subject) -> Figures:
        """Return the time relative to plain PyTorch."""
        return self.run_together([subject])[0]

    def run_together(self, subjects: Sequence[Subject]) -> list[Figures]:
        """Return the times, interleaved with one another and with plain PyTorch."""
        if not subjects:
            return []
        cases = [Case("plain", given(subjects[0].plain_step, "a step in plain PyTorch"))]
        cases += [Case(str(i), given(each.step, "a step")) for i, each in enumerate(subjects)]
        rounds, begun = [], time.perf_counter()
        for seconds in timed_rounds(cases, self.rounds, self.warmup):
            rounds.append(seconds)
            if time.perf_counter() - begun > self.seconds and len(rounds) >= self.fewest:
                break
        plain, *found = summarize(cases, rounds).values()
        return [_figures(each, plain.seconds) for each in found]

    def contradictions(self, subject: Subject, figures: Figures) -> Iterator[str]:  # noqa: ARG002
        """A ratio is positive and lies between its quartiles."""
        low, high = figures.values["step_quartiles"]
        if not 0 < low <= figures.values["step_ratio"] <= high < math.inf:
            yield f"the ratio {figures.values['step_ratio']} is not between {low} and {high}"


def step_time(cases: Sequence[Case], rounds: int = 50, warmup: int = 5) -> dict[str, StepTime]:
    """Time of a training step, interleaved with the other cases' steps and relative to the first.

    Each round runs one step of every case, or a few in a row if a step is very short, so that the
    state of the caches after the previous case matters little. A slowdown of the machine affects
    all cases of a round equally, so ratios within rounds are reliable on a busy machine, and
    absolute times are not.

    Args:
        cases: The first one is the reference for the others: usually plain PyTorch.
        rounds: Turns of each case.
        warmup: Rounds before that, not counted; at least one.

    Returns:
        Case name to its time, in the order of the cases.

    Raises:
        UserError: There are no cases, two with one name, or too few rounds.
    """
    return summarize(cases, list(timed_rounds(cases, rounds, warmup)))


def timed_rounds(cases: Sequence[Case], rounds: int, warmup: int) -> Iterator[list[float]]:
    """Yield the seconds per step of each case, round by round; for progress bars.

    Every model starts from the same random numbers, and the caller's generators are left unchanged.
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

    It starts one case further in every round, and is reversed in every second turn: each case comes
    first equally often, and none always follows the same other case.
    """
    turn, start = divmod(number, cases)
    rotated = [(start + i) % cases for i in range(cases)]
    return rotated[::-1] if turn % 2 else rotated


def summarize(cases: Sequence[Case], rounds: Sequence[Sequence[float]]) -> dict[str, StepTime]:
    """Return the medians and ratios of the seconds of every round."""
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


def _figures(found: StepTime, plain: float) -> Figures:
    return Figures(
        values={
            # Not the case's own median: on a noisy machine that contradicts the ratio, which is
            # computed within rounds and is the reliable figure.
            "step_seconds": found.ratio * plain,
            "step_ratio": found.ratio,
            "step_quartiles": list(found.quartiles),
            "plain_step_seconds": plain,
        }
    )


def _build(case: Case) -> Step:
    with generators_kept(_accelerators()):
        return case.build()


def _timed_round(steps: Sequence[Step], order: Sequence[int], repeats: int) -> list[float]:
    """Return the seconds per step of each case, from `repeats` steps in a row, in the given
    order.
    """
    seconds = [0.0] * len(steps)
    collecting = gc.isenabled()
    with generators_kept(_accelerators()):
        gc.disable()  # it would run during the step that happens to fill its counter
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
    """Wait until an accelerator, if there is one, has finished its work."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _accelerators() -> list[torch.device]:
    found = torch.accelerator.current_accelerator(check_available=True)
    return [] if found is None else [found]
