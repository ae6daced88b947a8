"""Learning tasks one after another: the streams, the methods, their settings and the recipes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from beyondprop import rules
from beyondprop.continual import Stream, pairs_of, permuted
from beyondprop.continual.streams import split_classes
from beyondprop.pieces.training import Recipe
from beyondprop.registry import Spec
from beyondprop.tasks import Data, Task, find

SLOTS, ORDERS = 8, 5
WIDTH = 256
RATES = (3e-4, 1e-3, 3e-3)
CHOSEN = (0.05, 0.2, 0.5)
"""Learning rates of slot machines, by stochastic gradient descent."""


@dataclass(frozen=True)
class Way:
    """A method with the settings to try.

    Attributes:
        settings: Specs of the method.
        keeps: Bits per stored sample; as many as fit into the bank are stored. 0 stores none.
        rates: The learning rates.
        optimizer: Returns an optimizer from (parameters, learning rate); None for Adam.
    """

    settings: tuple[dict[str, Any], ...] = ({},)
    keeps: int = 0
    rates: tuple[float, ...] = RATES
    optimizer: Callable[[Any, float], Optimizer] | None = None


def descent(parameters: Any, rate: float) -> Optimizer:
    """Return stochastic gradient descent with momentum."""
    return SGD(parameters, rate, momentum=0.9)


SAMPLE = 784 * 32 + 64
"""Bits of an image and its class."""
LOGITS = 10 * 32

WAYS = {
    "plain": Way(),
    "ewc": Way(tuple({"strength": each} for each in (10.0, 100.0, 1000.0))),
    "si": Way(tuple({"strength": each} for each in (0.1, 1.0, 10.0))),
    "no-forgetting": Way(tuple({"strength": each} for each in (0.3, 1.0, 3.0))),
    "replay": Way(keeps=SAMPLE),
    "dark-replay": Way(tuple({"alpha": each} for each in (0.1, 0.3, 1.0)), keeps=SAMPLE + LOGITS),
    "slots": Way(rates=CHOSEN, optimizer=descent),
}


def network() -> nn.Module:
    """Return a fully connected network from images to 10 logits."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU()),
        nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
        nn.Linear(WIDTH, 10),
    )


def streams(data: Data) -> dict[str, Stream]:
    """Return all streams of a data set."""
    pairs = pairs_of(data)
    return {
        "class": split_classes(data, pairs),
        "task": split_classes(data, pairs, told=True),
        "domain": permuted(data, ORDERS),
    }


@dataclass(frozen=True)
class Trial:
    """One rule on one stream.

    Attributes:
        task: The task whose images are used.
        samples: The number of training samples.
        stream: The name of the stream.
        rule: Its name.
        epochs: Passes over each experience.
    """

    task: str
    samples: int
    stream: str
    rule: str
    epochs: int

    def data(self) -> tuple[Task, Data]:
        """Return the task with the network, and its data with fewer training samples."""
        task = find(self.task)
        data = task.load(None)
        few = data.train.some(torch.arange(min(self.samples, len(data.train))))
        own = replace(task, model=network, blocks=("1", "2", "3"), output=None, axes=None)
        return own, replace(data, train=few)

    def recipe(self, way: Way, rate: float, seed: int) -> Recipe:
        """Return the recipe for each experience."""
        made = Recipe(
            epochs=self.epochs,
            batch_size=64,
            learning_rate=rate,
            rule=rules.make(self.rule, seed),
            seed=seed,
        )
        return made if way.optimizer is None else replace(made, optimizer=way.optimizer)

    def memory(self, way: Way) -> int | None:
        """Return how many samples fit into the memory of a bank of slot machines, or None."""
        if not way.keeps:
            return None
        weights = sum(p.numel() for p in network().parameters() if p.dim() > 1)
        bits = weights * (SLOTS - 1).bit_length() * ORDERS
        return max(1, bits // way.keeps)


def spec_of(name: str, setting: dict[str, Any], size: int | None) -> Spec:
    """Return the spec of a method."""
    return {"method": name, **setting} | ({} if size is None else {"size": size})
