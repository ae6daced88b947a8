"""Small tasks for the tests of experiments, importable by name from child processes."""

import math
import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import SGD, Optimizer

from beyondprop.tasks import Data, Split, Task


def blobs(folder: Path | None = None) -> Data:
    """Three overlapping clouds of points in four dimensions."""
    del folder
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 3
    centres = torch.randn(3, 4, generator=generator)
    inputs = centres[targets] + 0.7 * torch.randn(120, 4, generator=generator)
    parts = [Split(inputs[a:b], targets[a:b]) for a, b in ((0, 60), (60, 90), (90, 120))]
    return Data("blobs", *parts, classes=("a", "b", "c"))


def network() -> nn.Module:
    """Dropout, so that a resumed run must also take up PyTorch's generator."""
    return nn.Sequential(
        nn.Linear(4, 12),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(12, 12),
        nn.ReLU(),
        nn.Linear(12, 3),
    )


class Scale(nn.Module):
    """A layer that feedback alignment has no backward for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(12))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def scaled_network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), Scale(), nn.Linear(12, 3))


def misfit_network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 3))


def two_outputs() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 2))


def not_a_model() -> int:
    return 3


def sgd(parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
    return SGD(parameters, lr=learning_rate)


def deadly(_: Iterable[Parameter], learning_rate: float) -> Optimizer:
    """Ends the process, as the system does where memory is short; it is called for every run."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(learning_rate)


def slow_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Waits as long as the environment says, so that there is time to be killed.

    In training alone: a last layer is solved in double precision, by hundreds of calls.
    """
    if outputs.dtype == torch.float32:
        time.sleep(float(os.environ.get("SLOW_LOSS", "0")))
    return F.cross_entropy(outputs, targets)


def nan_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets) * math.nan


def interrupted_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.grad_fn is not None:  # not the trial of a batch before the run
        raise KeyboardInterrupt
    return F.cross_entropy(outputs, targets)


class Noise(nn.Module):
    """Draws from Python's and NumPy's global generators."""

    def forward(self, x: Tensor) -> Tensor:
        return x * random.gauss(1, 0.1) + float(np.random.normal())  # noqa: NPY002


def noisy_network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), Noise(), nn.Linear(12, 3))


def broken_load(folder: Path | None) -> Data:
    raise KeyError(folder)


def task(
    name: str,
    model: Callable[[], nn.Module] = network,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    learning_rate: float = 0.01,
    optimizer: Callable[[Iterable[Parameter], float], Optimizer] | None = None,
) -> Task:
    """A task on the blobs: 4 epochs of 4 steps, the last one smaller."""
    chosen = {"optimizer": optimizer} if optimizer else {}
    return Task(
        name=name,
        summary="three clouds",
        load=blobs,
        model=model,
        loss=loss,
        epochs=4,
        batch_size=16,
        learning_rate=learning_rate,
        **chosen,
    )


BLOBS = task("blobs")
SLOW = task("slow", loss=slow_loss)
INTERRUPTED = task("interrupted", loss=interrupted_loss)
EXPLODING = task("exploding", learning_rate=1e30, optimizer=sgd)
SCALED = task("scaled", model=scaled_network)
NOISY = task("noisy", model=noisy_network)
BROKEN = replace(SLOW, name="broken", load=broken_load)
HOPELESS = task("hopeless", loss=nan_loss)
MISFIT = task("misfit", model=misfit_network)
WRONG_CLASSES = task("wrong-classes", model=two_outputs)


def sized_network(width: int, depth: int) -> nn.Module:
    widths = [4, *[width] * depth]
    hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*hidden, nn.Linear(width, 3))


def some_blobs(samples: int, folder: Path | None = None) -> Data:
    data = blobs(folder)
    return replace(data, train=data.train.some(torch.arange(samples)))


def blob_family(width: int = 4, depth: int = 2, samples: int = 60) -> Task:
    """A family of tasks for `scale`."""
    return replace(
        BLOBS,
        name=f"blobs-w{width}-d{depth}-n{samples}",
        load=partial(some_blobs, samples),
        model=partial(sized_network, width, depth),
    )
