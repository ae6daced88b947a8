"""Small problems whose global minimum is known: how often a rule reaches it from random starts.

The targets come from a network of the learner's own shape, so that the lowest loss is zero and some
weights have it. A network without non-linearities has no other minima (Kawaguchi 2016); others may
have, and gradient descent ends in them too (Safran and Shamir 2018).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.core import Rule
from beyondprop.engine.attach import attach
from beyondprop.engine.untouched import generators_kept
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, Positive
from beyondprop.slots import Kind, Machine, Reels, convert, driven

RATES = (1e-2, 3e-2, 1e-1)
"""Learning rates of Adam that are tried."""
FACTOR, MORE = 3.0, 3
"""Between a rate at an end of those that were tried and the next one; how many more are tried."""
TUNING = 1_000_000
"""Seeds of starts by which rates are chosen begin here."""


@dataclass(frozen=True)
class Problem:
    """A network that is to learn what another one of its shape computes.

    Attributes:
        name: Short name.
        network: Builds either of them, from vectors; drawn from torch's global generator.
        inputs: How long the vectors are.
        deviation: Of the normal distribution that they are drawn from; large enough that units
            are far from linear.
        samples: All of which each step sees.
        kind: What weights are chosen among; None: they are learned. Both networks then choose among
            the same values, so that the lowest loss is zero all the same.
    """

    name: str
    network: Callable[[], nn.Sequential]
    inputs: Count = 4
    deviation: Positive = 4.0
    samples: Count = 256
    kind: Kind | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def teacher(self, seed: int) -> nn.Sequential:
        """Return the network that gives the targets."""
        with generators_kept():
            torch.manual_seed(seed)
            return self._teacher(seed)

    def start(self, seed: int) -> Start:
        """Return samples of a teacher drawn by a seed, and another network that hasn't learned."""
        with generators_kept():
            torch.manual_seed(seed)
            teacher, student = self._teacher(seed), self.network()
            if self.kind is not None:
                convert(student, self.kind, seed=seed)
            drawn = torch.randn(self.samples, self.inputs)  # (samples, inputs)
            inputs = self.deviation * drawn
            with torch.no_grad():
                targets = teacher(inputs)  # (samples, outputs)
        return Start(student, inputs, targets)

    def _teacher(self, seed: int) -> nn.Sequential:
        network = self.network()
        if self.kind is not None:
            _draw(convert(network, self.kind, seed=seed))
        return network


@torch.no_grad()
def _draw(machine: Machine) -> None:
    """Let each weight of a machine be any of its values, with equal chance."""
    for reel in machine.reels:
        options = reel.kind.options(reel.source.all_values(reel.parameter))  # (count, ...)
        drawn = torch.randint(len(options), options.shape[1:])  # (...)
        reel.parameter.copy_(options.gather(0, drawn[None])[0])


@dataclass(frozen=True, eq=False)
class Start:
    """Where training begins.

    Attributes:
        student: The network that is to learn.
        inputs: ``(samples, inputs)``.
        targets: ``(samples, outputs)``, which some weights of the student give.
    """

    student: nn.Sequential
    inputs: Tensor
    targets: Tensor

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the mean squared error as a share of the targets' variance: 1 for their mean."""
        variance = self.targets.var(0, correction=0).mean()
        return F.mse_loss(outputs, self.targets) / variance


@dataclass(frozen=True)
class Reached:
    """How often a rule reached the minimum.

    Attributes:
        problem: Its name.
        rule: Its name.
        tolerance: A start has reached the minimum whose loss ends below, as a share of the targets'
            variance.
        losses: At the end, one a start; infinity where training diverged.
        rate: Adam's, chosen on other starts.
        edge: Whether it still is the lowest or the highest that was tried.
    """

    problem: str
    rule: str
    tolerance: float
    losses: tuple[float, ...]
    rate: float
    edge: bool

    @property
    def share(self) -> float:
        """The share of starts that reached the minimum."""
        return sum(loss < self.tolerance for loss in self.losses) / len(self.losses)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share."""
        n, p, z = len(self.losses), self.share, 1.959964
        middle = p + z * z / (2 * n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
        return max(low, 0.0), min(high, 1.0)


@dataclass(frozen=True)
class Budget:
    """What every rule is given.

    Attributes:
        starts: That are counted, by the seeds from 0 on: the same for every rule.
        steps: Of Adam, on all samples each; its rate falls linearly to zero.
        rates: That are tried; while the best of several is at an end, further ones beyond it,
            `MORE` at most.
        tuning: Starts that each of them is tried on, which are not counted.
        tolerance: See `Reached`.
    """

    starts: Count = 20
    steps: Count = 1000
    rates: Sequence[float] = RATES
    tuning: Count = 2
    tolerance: Positive = 1e-2

    def __post_init__(self) -> None:
        check_fields(self)


def reached(problem: Problem, rule: Rule, budget: Budget | None = None) -> Reached:
    """Return how often a rule reaches a problem's global minimum.

    The learning rate is that with the lowest median loss on starts of its own.

    Raises:
        UserError: The rule can't teach the network, with the reason.
    """
    given = budget or Budget()
    apart = range(TUNING, TUNING + given.tuning)

    def median(rate: float) -> float:
        return statistics.median(ended(problem, rule, s, given.steps, rate) for s in apart)

    rate, edge = best_rate(given.rates, median)
    losses = (ended(problem, rule, s, given.steps, rate) for s in range(given.starts))
    return Reached(problem.name, rule.name, given.tolerance, tuple(losses), rate, edge)


def best_rate(rates: Sequence[float], loss: Callable[[float], float]) -> tuple[float, bool]:
    """Return the rate with the lowest loss, and whether it is at an end of those that were tried.

    While it is, the next one beyond that end is tried, `MORE` at most; a single rate is taken.
    """
    tried = {rate: loss(rate) for rate in rates}
    for left in range(MORE, -1, -1):
        rate = min(tried, key=tried.__getitem__)
        low, high = rate == min(tried), rate == max(tried)
        if low == high or not left:  # between others, or alone; or enough
            break
        beyond = rate / FACTOR if low else rate * FACTOR
        tried[beyond] = loss(beyond)
    return rate, low != high


def ended(problem: Problem, rule: Rule, seed: int, steps: int, rate: float) -> float:
    """Return the loss at which a rule ends from one start; infinity where it diverged.

    Raises:
        UserError: The rule can't teach the network.
    """
    start = problem.start(seed)
    model = start.student
    with generators_kept():
        torch.manual_seed(seed)
        handle = attach(model, rule)
        learned = [*model.parameters(), *handle.parameters()]
        optimizer = driven(torch.optim.Adam(learned, rate), model)
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 - n / steps)
        for _ in range(steps):
            with handle.targets(start.targets):
                loss = start.loss(model(start.inputs))
            loss.backward()
            optimizer.step()
            falling.step()
            optimizer.zero_grad()
        handle.remove()
    with torch.no_grad():
        found = start.loss(model.eval()(start.inputs)).item()
    return found if math.isfinite(found) else math.inf


def tanh_network() -> nn.Sequential:
    """Return a network of two hidden layers of eight tanh units, from 4 numbers to 2."""
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def linear_network() -> nn.Sequential:
    """Return a network of three linear layers, from 8 numbers to 4 by way of 4.

    The narrow layers make the first one count: what it loses no later one brings back.
    """
    return nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 4))


TEACHER_STUDENT = Problem("teacher and student", tanh_network)
"""Three layers with tanh learn what others of their shape compute."""
DEEP_LINEAR = Problem("deep linear", linear_network, inputs=8)
"""Three linear layers do, of which the inner ones are narrow."""
PROBLEMS = (TEACHER_STUDENT, DEEP_LINEAR)
"""Those whose weights are learned."""


def chosen(problem: Problem, kind: Kind | None = None) -> Problem:
    """Return a problem whose networks choose their weights, as slot machines unless told."""
    return replace(problem, name=f"{problem.name}, chosen", kind=kind or Reels())
