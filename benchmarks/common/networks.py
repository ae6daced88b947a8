"""The networks whose steps the benchmarks measure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import SGD

import beyondprop as bp
from beyondprop.measure import Case, Step, rule_step

CLASSES = 10
PLAIN = "plain PyTorch"
CHAIN_STEP = "dfa, ChainStep"
RATE = 1e-3


@dataclass(frozen=True)
class Network:
    """A network with the shape of its batches.

    Attributes:
        name: The name for `--cases`.
        build: A function that builds it.
        shape: The shape of a batch of inputs, batch first.
        small: Whether it is a chain so small that overhead dominates.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    small: bool = False

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return a fixed batch of random inputs with random classes."""
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(self.shape, generator=generator)
        return inputs, torch.randint(CLASSES, self.shape[:1], generator=generator)

    def cases(self) -> list[Case]:
        """Return the steps of plain PyTorch and every rule, and `ChainStep` for a small chain."""
        inputs, targets = self.batch()
        taught = {name: bp.rules.make(name) for name in bp.rules.RULES}
        taught = {name: rule for name, rule in taught.items() if teaches(rule, self.build())}
        names, rules = (PLAIN, *taught), [None, *taught.values()]
        own = [Case(CHAIN_STEP, partial(chain_step, self))] if self.small else []
        found = [
            Case(
                name,
                partial(
                    rule_step,
                    self.build,
                    rule,
                    inputs,
                    targets,
                    nn.functional.cross_entropy,
                    sgd,
                    RATE,
                ),
            )
            for name, rule in zip(names, rules, strict=True)
        ]
        return found + own


def teaches(rule: bp.rules.Rule, model: nn.Module) -> bool:
    """Whether the rule can be attached; some rules need their own kind of model."""
    try:
        bp.attach(model, rule)
    except bp.AttachError:
        return False
    return True


def chain_step(net: Network) -> Step:
    """Return a step of direct feedback alignment with `ChainStep`."""
    inputs, targets = net.batch()
    step = bp.ChainStep(bp.attach(net.build(), bp.DirectFeedbackAlignment()), RATE)
    return lambda: step(inputs, targets)


def mlp(inputs: int, width: int, hidden: int) -> nn.Sequential:
    """Return inputs-width×hidden-10 with ReLU."""
    widths = [inputs, *[width] * hidden]
    layers = [
        layer
        for before, after in pairwise(widths)
        for layer in (nn.Linear(before, after), nn.ReLU())
    ]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


def convnet() -> nn.Sequential:
    """Return three 3×3 convolutions of 32, 64 and 128 channels, each pooled, and a linear layer."""
    channels = [3, 32, 64, 128]
    layers = [
        layer
        for before, after in pairwise(channels)
        for layer in (nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 4 * 4, CLASSES))


def sgd(parameters: Iterable[Parameter], learning_rate: float) -> SGD:
    """Return plain SGD, the optimizer with the least overhead."""
    return SGD(parameters, lr=learning_rate)


def step_time_networks() -> list[Network]:
    """Return large MLPs, small ones, in which overhead dominates, and a convolutional network."""
    large = [
        Network(f"mlp-{hidden}x1024", partial(mlp, 784, 1024, hidden), (256, 784))
        for hidden in (4, 8, 16)
    ]
    small = [
        Network(
            f"mlp-{hidden}x{width}", partial(mlp, width, width, hidden), (32, width), small=True
        )
        for width in (64, 128)
        for hidden in (2, 4, 8)
    ]
    return [*large, *small, Network("convnet", convnet, (64, 3, 32, 32))]


def memory_networks() -> list[Network]:
    """Return MLPs with such depths and batches that activations use most of the memory."""
    return [
        Network(f"mlp-{hidden}x1024", partial(mlp, 784, 1024, hidden), (1024, 784))
        for hidden in (4, 16, 64)
    ]
