"""Training of one network with light or without: MNIST or Fashion-MNIST, two hidden layers."""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import nn

import beyondprop as bp
from benchmarks.optics.configurations import CONFIGURATIONS
from beyondprop.engine.attachment import Attachment
from beyondprop.measure import alignment
from beyondprop.optics import PhotonicProjection
from beyondprop.tasks import Data, Split, find

TASKS = {"mnist": "mnist-mlp", "fashion": "fashion-mlp"}
"""Tasks by the name of their data set."""


@lru_cache(maxsize=1)
def data_of(data_set: str) -> Data:
    """Return a data set in three splits."""
    return find(TASKS[data_set]).load(None)


def run(data_set: str, way: str, rate: float, epochs: int, seed: int) -> dict[str, Any]:
    """Train a network with one configuration from one seed, and score it once at the end.

    Args:
        data_set: One of `TASKS`.
        way: One of `CONFIGURATIONS`.
        rate: Adam's learning rate at the start; it falls linearly to zero.
        epochs: Passes over the training split.
        seed: The seed of the weights, the order of the samples, and the light.

    Returns:
        Scores on both held-out splits, losses by epoch, and the alignment of the hidden layers'
        updates with the true gradient at the end.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    task, data = find(TASKS[data_set]), data_of(data_set)
    model = task.model()
    rule = CONFIGURATIONS[way](seed)
    handle = bp.attach(model, rule)
    losses = fit(model, data.train, task.batch_size, rate, epochs)
    light = getattr(rule, "projection", None)
    return {
        "data_set": data_set,
        "way": way,
        "rate": rate,
        "epochs": epochs,
        "seed": seed,
        "train_loss": losses,
        "shots": light.clock.shots if isinstance(light, PhotonicProjection) else None,
        "validation": score(model, data.validation),
        "test": score(model, data.test),
        "alignment": aligned(handle, data.validation),
    }


def fit(model: nn.Module, train: Split, batch: int, rate: float, epochs: int) -> list[float]:
    """Train the model and return the mean loss of each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = epochs * math.ceil(len(train) / batch)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    means = []
    for _ in range(epochs):
        losses = []
        for rows in torch.randperm(len(train)).split(batch):
            optimizer.zero_grad()
            outputs = model(train.inputs[rows])
            loss = nn.functional.cross_entropy(outputs, train.targets[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        means.append(torch.stack(losses).mean().item())
    return means


@torch.no_grad()
def score(model: nn.Module, part: Split) -> float:
    """Return the share of samples that are classified correctly."""
    found = torch.cat([model(x).argmax(1) for x in part.inputs.split(1000)])
    return (found == part.targets).double().mean().item()


def aligned(handle: Attachment, part: Split) -> list[float | None]:
    """Return the cosine of each hidden block's update with the true gradient, on 1,000 samples."""
    x, y = part.inputs[:1000], part.targets[:1000]
    return list(alignment(handle, x, y, nn.functional.cross_entropy).values())[:-1]
