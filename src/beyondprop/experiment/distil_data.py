"""Training data for students: all training samples, some of them, or drawn inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from beyondprop.errors import UserError
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.neighbourhoods import DRAWS, DrawnBatches, DrawnInputs
from beyondprop.neighbourhoods.synthetic import KNOWN
from beyondprop.tasks import Data, Samples
from beyondprop.tasks.order import order


@dataclass(frozen=True)
class Inputs:
    """The inputs of samples in order, in the form in which the teacher is called."""

    samples: Samples
    size: int

    def __iter__(self) -> Iterator[Any]:
        for inputs, _ in self.samples.batches(self.size):
            yield inputs


@dataclass
class Noise:
    """Batches of inputs that are drawn again in each pass, the same for all methods of a seed.

    Attributes:
        first: The batches of the first pass.
        passes: Number of passes started.
    """

    first: DrawnBatches
    passes: int = 0

    def __len__(self) -> int:
        return len(self.first)

    def __iter__(self) -> Iterator[tuple[Any, None]]:
        now = replace(self.first, seed=self.first.seed + self.passes)
        self.passes += 1
        for inputs in now:
            yield inputs, None  # there are no labels


def few(spec: DistilSpec, data: Data, seed: int) -> Data:
    """Return the data with the training samples that students may use.

    These are the first samples in the seed's random order, because the first samples of sorted data
    may all belong to one class.

    Raises:
        UserError: The data have fewer training samples.
    """
    if spec.samples is None:
        return data
    if spec.samples > len(data.train):
        raise UserError(
            f"{data.name} has {len(data.train):,} training samples, not {spec.samples:,}: lower "
            "samples="
        )
    rows = order(seed, 0, len(data.train))[: spec.samples]
    return replace(data, train=data.train.some(rows))


def drawn_inputs(spec: DistilSpec, data: Data) -> DrawnInputs | None:
    """Return how inputs are drawn; None if students learn from data.

    A pass has as many samples as the training data. Only a few training samples are used.
    """
    if spec.inputs is None:
        return None
    return DrawnInputs(DRAWS.make(spec.inputs), len(data.train), spec.samples or KNOWN)


def noise(
    own: DrawnInputs, data: Data, teacher: torch.nn.Module, batch_size: int, seed: int
) -> Noise:
    """Return drawn inputs of the whole network.

    Raises:
        UserError: The network's inputs can't be drawn.
    """
    known, _ = data.train.batch(torch.arange(min(own.known, len(data.train))))
    return Noise(DrawnBatches(teacher, known, own.draw, own.samples, batch_size, seed))
