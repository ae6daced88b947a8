"""Implementations of a slot machine, and dense weights, for measuring step time and memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, one_hot
from torch.optim import SGD, Optimizer

from beyondprop import slots
from beyondprop.slots import staircase

SLOTS = 8
RATE, MOMENTUM = 0.2, 0.9


@dataclass(frozen=True)
class Workload:
    """A network without biases, as in slot machines, and the shape of its batches.

    Attributes:
        name: The name for `--cases`.
        widths: The widths of its layers, inputs first, with ReLU between layers.
        size: The batch size.
    """

    name: str
    widths: tuple[int, ...]
    size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Return the shape of a batch of inputs."""
        return self.size, self.widths[0]

    def build(self) -> nn.Sequential:
        """Return the network with fixed initial weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = [nn.Linear(a, b, bias=False) for a, b in pairwise(self.widths)]
        return nn.Sequential(*[m for layer in layers for m in (layer, nn.ReLU())][:-1])


def workloads() -> list[Workload]:
    """Return one large layer, and a small network, in which overhead counts."""
    return [
        Workload("linear-1024", (1024, 1024), 256),
        Workload("lenet-300-100", (784, 300, 100, 10), 128),
    ]


class Training:
    """A training loop; a call takes one step."""

    def __init__(self, workload: Workload, model: nn.Module, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self.classes, self.generator = workload.widths[-1], torch.Generator().manual_seed(0)
        self.inputs = torch.randn(workload.shape, generator=self.generator)

    def __call__(self) -> None:
        """Take a step on new random targets, since repeated ones would be learned."""
        targets = torch.randint(self.classes, (len(self.inputs),), generator=self.generator)
        cross_entropy(self.model(self.inputs), targets).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def weights(self) -> list[Tensor]:
        """Return a copy of the weights."""
        layers = (m for m in self.model if isinstance(m, nn.Linear | OneHotLinear))
        return [layer.weight.detach().clone() for layer in layers]

    def changed(self) -> float:
        """Take a step; return the share of weights that change in it."""
        before = self.weights()
        self()
        pairs = list(zip(before, self.weights(), strict=True))
        return sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)


def sgd(model: nn.Module) -> SGD:
    """Return the optimizer, which is the same for all."""
    return SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)


def dense(workload: Workload) -> Training:
    """Return the network with dense weights."""
    model = workload.build()
    return Training(workload, model, sgd(model))


def driven(workload: Workload, drive: Callable[[SGD, nn.Module], SGD]) -> Training:
    """Return the converted network under a driven optimizer."""
    model = workload.build()
    slots.convert(model, SLOTS, seed=0)
    return Training(workload, model, drive(sgd(model), model))


def plain_pytorch(workload: Workload) -> Training:
    """Return one number per weight in plain PyTorch, as without numba."""
    with patch.object(staircase, "make", staircase.PlainStaircase):
        return driven(workload, slots.drive)


class OneHotLinear(nn.Module):
    """The textbook method: K scores and K values per weight, one-hot choices, straight-through."""

    def __init__(self, scores: Tensor, values: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.register_buffer("values", values)

    @property
    def weight(self) -> Tensor:
        """Return the chosen values."""
        hard = one_hot(self.scores.argmax(-1), self.scores.shape[-1]).to(self.scores.dtype)
        through = hard + (self.scores - self.scores.detach())  # exactly hard
        return (through * self.values).sum(-1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return a linear layer's outputs."""
        return linear(inputs, self.weight)


def textbook(workload: Workload) -> Training:
    """Return the same network, with the same values and initial scores, by the textbook method."""
    model = workload.build()
    for reel in slots.convert(model, SLOTS, seed=0).reels:
        like = reel.parameter.detach()
        values, scores = (
            draw(like).movedim(0, -1).contiguous()
            for draw in (reel.source.all_values, reel.source.all_scores)
        )
        model[int(reel.name.split(".")[0])] = OneHotLinear(scores, values)
    slots.machine_of(model).remove()
    return Training(workload, model, sgd(model))


IMPLEMENTATIONS: dict[str, Callable[[Workload], Training]] = {
    "dense": dense,
    "one number a weight, fused": partial(driven, drive=slots.drive),
    "one number a weight, plain PyTorch": plain_pytorch,
    "K scores a weight": partial(driven, drive=slots.drive_scores),
    "K scores a weight, one-hot by autograd": textbook,
}


def warmed_up(build: Callable[[], Training], steps: int) -> Training:
    """Return a training loop after its first steps, with all that it stores between steps."""
    training = build()
    for _ in range(steps):
        training()
    return training


def held_bytes(training: Training, momentum: bool = True) -> int:
    """Return the bytes of all tensors and arrays in the model and the optimizer, each once."""
    states = [
        {name: value for name, value in state.items() if momentum or name != "momentum_buffer"}
        for state in training.optimizer.state.values()
    ]
    return sum(size for _, size in dict(stores([training.model, states], set())).items())


def stores(thing: Any, seen: set[int]) -> Iterator[tuple[int, int]]:
    """Yield the address and the bytes of the memory of every tensor and array within an object."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        memory = thing.untyped_storage()
        yield memory.data_ptr(), memory.nbytes()
    elif isinstance(thing, np.ndarray):
        yield thing.ctypes.data, thing.nbytes
    elif isinstance(thing, dict):
        for inner in thing.values():
            yield from stores(inner, seen)
    elif isinstance(thing, list | tuple | set):
        for inner in thing:
            yield from stores(inner, seen)
    elif hasattr(thing, "__dict__") and not isinstance(thing, type):
        yield from stores(vars(thing), seen)
