"""Small tasks for attacks: they are fast, and draw random numbers in training."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.tasks import Data, Split, Task

WAIT = "BEYONDPROP_FAULTS_WAIT"
"""The name of the variable for the seconds that a training step of `SLOW` waits."""


def clouds(folder: Path | None = None) -> Data:
    """Return three overlapping clouds of points in four dimensions."""
    del folder
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 3
    centres = torch.randn(3, 4, generator=generator)
    inputs = centres[targets] + 0.7 * torch.randn(120, 4, generator=generator)
    parts = [Split(inputs[a:b], targets[a:b]) for a, b in ((0, 60), (60, 90), (90, 120))]
    return Data("clouds", *parts, classes=("a", "b", "c"))


def network() -> nn.Module:
    """Return a network with dropout: a resumed run must also restore PyTorch's generator."""
    return nn.Sequential(
        *(nn.Linear(4, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 12), nn.ReLU()),
        nn.Linear(12, 3),
    )


def slow_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy; in training, wait for the time in the environment.

    A control's last layer, which needs hundreds of calls, is solved in double precision.
    """
    if outputs.dtype == torch.float32 and outputs.requires_grad:
        time.sleep(float(os.environ.get(WAIT, "0")))
    return F.cross_entropy(outputs, targets)


CLOUDS = Task(
    name="clouds",
    summary="three clouds",
    load=clouds,
    model=network,
    loss=slow_loss,
    epochs=3,
    batch_size=20,
    learning_rate=0.01,
)
