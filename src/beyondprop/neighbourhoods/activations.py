"""The calls of a neighbourhood on all data: read from a cache, or recomputed by the teacher."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from beyondprop._torch.operations import Operations
from beyondprop.neighbourhoods.calls import Call, calls
from beyondprop.neighbourhoods.layout import Layout
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.neighbourhoods.shards import read
from beyondprop.pieces.data import Batch, check_again, first, length, sizes


class Activations(ABC):
    """The calls of one neighbourhood, in batches; only their order differs between passes."""

    @abstractmethod
    def batches(self, size: int, seed: int) -> Iterator[Call]:
        """Yield the calls of one pass over the data.

        Args:
            size: Samples in a batch, at most; see `sizes`.
            seed: The seed of the order.
        """

    @abstractmethod
    def steps(self, size: int) -> int:
        """Return the number of batches in a pass."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A digest that identifies these activations, as far as they are known."""

    @property
    @abstractmethod
    def operations(self) -> int:
        """Floating-point operations that computing one sample takes, each time it is used."""


@dataclass(frozen=True)
class Streamed(Activations):
    """Calls that the teacher computes again in each pass, which stops after the neighbourhood.

    No disk is needed. The teacher runs without gradients up to the neighbourhood's end, module by
    module, and frees each module's output once the next modules have used it. Batches are those of
    the data, in its order.

    Attributes:
        teacher: The teacher, in eval mode.
        neighbourhood: The neighbourhood whose calls these are.
        data: Batches of the teacher's inputs; they can be iterated repeatedly.
        digest: Identifies the teacher and the data, if known.
    """

    teacher: nn.Module
    neighbourhood: Neighbourhood
    data: Iterable[Batch]
    digest: str = "streamed"

    def batches(self, size: int, seed: int) -> Iterator[Call]:
        """Yield the call of each batch of the data, whose size and order are the data's own."""
        del size, seed
        check_again(self.data)
        for batch in self.data:
            yield calls(self.teacher, [self.neighbourhood], batch)[self.neighbourhood.name]

    def steps(self, size: int) -> int:
        """Return the number of batches in the data.

        Raises:
            UserError: The data has no batches, or no length.
        """
        del size
        return length(self.data)

    @property
    def operations(self) -> int:
        """The operations of the teacher up to the neighbourhood's end."""
        counted = Operations()
        with counted:
            calls(self.teacher, [self.neighbourhood], first(next(iter(self.data)), 1))
        return counted.total


@dataclass(frozen=True)
class Cached(Activations):
    """Calls in safetensors files, one for each shard.

    Attributes:
        folder: Holds the shards.
        layout: The form of the calls.
        shards: The number of samples in each shard.
        digests: The SHA-256 of each shard's file.
    """

    folder: Path
    layout: Layout
    shards: tuple[int, ...]
    digests: tuple[str, ...]

    def batches(self, size: int, seed: int) -> Iterator[Call]:
        """Yield calls of this many samples; shards, and samples within each, are shuffled.

        Parts of at most two shards are in memory.
        """
        generator = np.random.RandomState(seed)
        held: list[Tensor] | None = None
        left = sizes(sum(self.shards), size)
        for number in generator.permutation(len(self.shards)):
            order = torch.from_numpy(generator.permutation(self.shards[number]))
            more = [tensor[order] for tensor in self.shard(int(number))]
            held = (
                more if held is None else [torch.cat(pair) for pair in zip(held, more, strict=True)]
            )
            while left and left[0] <= len(held[0]):
                count = left.pop(0)
                yield self._call([tensor[:count] for tensor in held])
                held = [tensor[count:] for tensor in held]

    def steps(self, size: int) -> int:
        """Return the number of batches of this size in a pass."""
        return math.ceil(sum(self.shards) / size)

    @property
    def digest(self) -> str:
        """The SHA-256 of the shards' digests."""
        return hashlib.sha256(" ".join(self.digests).encode()).hexdigest()

    @property
    def operations(self) -> int:
        """Zero, as the calls are read."""
        return 0

    def shard(self, number: int) -> list[Tensor]:
        """Return the tensors of a shard, ``(samples, ...)`` each, as they are stored.

        Raises:
            StorageError: The file is missing, or its content has changed.
        """
        return read(self.folder, number, self.digests[number])

    def _call(self, stored: Sequence[Tensor]) -> Call:
        like = self.layout.flat(self.layout.sample)
        return self.layout.call_of(
            [each.to(own.device, own.dtype) for each, own in zip(stored, like, strict=True)]
        )
