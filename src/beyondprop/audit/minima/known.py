"""Small problems with a known global minimum: how often a rule reaches it from random starts.

A network of the learner's own shape produces the targets, so the lowest loss is zero and some
weights attain it. A network without non-linearities has no other minima (Kawaguchi 2016); others
may have some, and gradient descent can end in them (Safran and Shamir 2018).
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
"""The factor between a rate at the edge of the grid and the next one; how many more are tried."""
TUNING = 1_000_000
"""First of the seeds for the starts that are used to choose learning rates."""


@dataclass(frozen=True)
class Problem:
    """A network that must learn the function of another network of the same shape.

    Attributes:
        name: Short name.
        network: Builds either network, from vectors to vectors; draws from torch's global
            generator.
        inputs: Length of the input vectors.
        deviation: Standard deviation of the normal distribution of the inputs; large enough that
            units are far from linear.
        samples: Number of samples; each step uses all of them.
        kind: The fixed values among which weights are chosen; None if weights are learned. Both
            networks choose among the same values, so the lowest loss is zero here too.
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
        """Return the network that produces the targets."""
        with generators_kept():
            torch.manual_seed(seed)
            return self._teacher(seed)

    def start(self, seed: int) -> Start:
        """Return samples of a teacher drawn with a seed, and an untrained student."""
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
    """Set each weight of a machine to one of its values, drawn uniformly."""
    for reel in machine.reels:
        options = reel.kind.options(reel.source.all_values(reel.parameter))  # (count, ...)
        drawn = torch.randint(len(options), options.shape[1:])  # (...)
        reel.parameter.copy_(options.gather(0, drawn[None])[0])


@dataclass(frozen=True, eq=False)
class Start:
    """The start of a training run.

    Attributes:
        student: The network to train.
        inputs: ``(samples, inputs)``.
        targets: ``(samples, outputs)``, which the student can produce with some weights.
    """

    student: nn.Sequential
    inputs: Tensor
    targets: Tensor

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the mean squared error divided by the variance of the targets: 1 for their
        mean.
        """
        variance = self.targets.var(0, correction=0).mean()
        return F.mse_loss(outputs, self.targets) / variance


@dataclass(frozen=True)
class Reached:
    """How often a rule reached the minimum.

    Attributes:
        problem: Name of the problem.
        rule: Name of the rule.
        tolerance: A start counts as having reached the minimum if its final loss, divided by the
            variance of the targets, is below this.
        losses: Final losses, one for each start; infinity if training diverged.
        rate: Adam's learning rate, chosen on other starts.
        edge: Whether this rate is the lowest or the highest that was tried.
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
    """The training budget of every rule.

    Attributes:
        starts: Number of starts that count, with the seeds from 0: the same for every rule.
        steps: Steps of Adam, each on all samples; the learning rate falls linearly to zero.
        rates: Learning rates to try. While the best of several is at the edge, up to `MORE` further
            ones beyond it are tried.
        tuning: Starts for trying each rate, which do not count.
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

    The learning rate is that with the lowest median loss on separate starts.

    Raises:
        UserError: The rule cannot train the network; the message gives the reason.
    """
    given = budget or Budget()
    apart = range(TUNING, TUNING + given.tuning)

    def median(rate: float) -> float:
        return statistics.median(ended(problem, rule, s, given.steps, rate) for s in apart)

    rate, edge = best_rate(given.rates, median)
    losses = (ended(problem, rule, s, given.steps, rate) for s in range(given.starts))
    return Reached(problem.name, rule.name, given.tolerance, tuple(losses), rate, edge)


def best_rate(rates: Sequence[float], loss: Callable[[float], float]) -> tuple[float, bool]:
    """Return the rate with the lowest loss, and whether it is at the edge of the rates that were
    tried.

    While it is, the next rate beyond that edge is tried, at most `MORE` times. A single rate is
    returned without a search.
    """
    tried = {rate: loss(rate) for rate in rates}
    for left in range(MORE, -1, -1):
        rate = min(tried, key=tried.__getitem__)
        low, high = rate == min(tried), rate == max(tried)
        if low == high or not left:  # inside the range, a single rate, or the limit is reached
            break
        beyond = rate / FACTOR if low else rate * FACTOR
        tried[beyond] = loss(beyond)
    return rate, low != high


def ended(problem: Problem, rule: Rule, seed: int, steps: int, rate: float) -> float:
    """Return the final loss of a rule from one start; infinity if training diverged.

    Raises:
        UserError: The rule cannot train the network.
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
    """Return a network with two hidden layers of eight tanh units, from 4 numbers to 2."""
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def linear_network() -> nn.Sequential:
    """Return a network of three linear layers, from 8 numbers to 4 through 4.

    The narrow layers make the first one essential: later layers cannot recover what it loses.
    """
    return nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 4))


TEACHER_STUDENT = Problem("teacher and student", tanh_network)
"""Three layers with tanh learn the function of another network of their shape."""
DEEP_LINEAR = Problem("deep linear", linear_network, inputs=8)
"""The same with three linear layers, of which the inner ones are narrow."""
PROBLEMS = (TEACHER_STUDENT, DEEP_LINEAR)
"""The problems whose weights are learned."""


def chosen(problem: Problem, kind: Kind | None = None) -> Problem:
    """Return a problem whose networks choose their weights; by default they are slot machines."""
    return replace(problem, name=f"{problem.name}, chosen", kind=kind or Reels())
