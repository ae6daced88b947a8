"""The calls of a neighbourhood on all data: read from a cache, or computed by the teacher again."""

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
    """The calls of one neighbourhood, in batches; the same in every pass but for their order."""

    @abstractmethod
    def batches(self, size: int, seed: int) -> Iterator[Call]:
        """Yield the calls of one pass over the data.

        Args:
            size: Samples a batch, at most; see `sizes`.
            seed: Of the order.
        """

    @abstractmethod
    def steps(self, size: int) -> int:
        """Return how many batches a pass has."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """What tells them from others, as far as it is known."""

    @property
    @abstractmethod
    def operations(self) -> int:
        """Floating-point operations by which a sample is made each time that it is given."""


@dataclass(frozen=True)
class Streamed(Activations):
    """Calls that the teacher makes anew in each pass; it ends behind the neighbourhood.

    No disk is needed. The teacher runs without gradients up to the neighbourhood's end, one module
    after another, and what a module made is gone as soon as the next ones have used it.
    Batches are those of the data, in its order.

    Attributes:
        teacher: In eval mode.
        neighbourhood: Whose calls they are.
        data: Batches that the teacher is called with; it can be iterated again and again.
        digest: What tells the teacher and the data from others, where that is known.
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
        """Return how many batches the data has.

        Raises:
            UserError: It has none, or does not say.
        """
        del size
        return length(self.data)

    @property
    def operations(self) -> int:
        """Those of the teacher up to the neighbourhood's end."""
        counted = Operations()
        with counted:
            calls(self.teacher, [self.neighbourhood], first(next(iter(self.data)), 1))
        return counted.total


@dataclass(frozen=True)
class Cached(Activations):
    """Calls in files of safetensors, a shard each.

    Attributes:
        folder: Holds the shards.
        layout: The form of the calls.
        shards: How many samples each shard has.
        digests: The SHA-256 of each shard's file.
    """

    folder: Path
    layout: Layout
    shards: tuple[int, ...]
    digests: tuple[str, ...]

    def batches(self, size: int, seed: int) -> Iterator[Call]:
        """Yield calls of so many samples; shards come in a random order, and samples within each.

        Of two shards parts are held at most.
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
        """Return how many batches of this size a pass has."""
        return math.ceil(sum(self.shards) / size)

    @property
    def digest(self) -> str:
        """The SHA-256 of the shards' digests."""
        return hashlib.sha256(" ".join(self.digests).encode()).hexdigest()

    @property
    def operations(self) -> int:
        """None: they are read."""
        return 0

    def shard(self, number: int) -> list[Tensor]:
        """Return the tensors of a shard, ``(samples, ...)`` each, as they are stored.

        Raises:
            StorageError: The file is missing, or not what was written.
        """
        return read(self.folder, number, self.digests[number])

    def _call(self, stored: Sequence[Tensor]) -> Call:
        like = self.layout.flat(self.layout.sample)
        return self.layout.call_of(
            [each.to(own.device, own.dtype) for each, own in zip(stored, like, strict=True)]
        )
