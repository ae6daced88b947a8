"""A memory of fixed size that contains each seen sample with equal probability."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from beyondprop._torch.pytrees import leaves, replaced


@dataclass
class Reservoir:
    """Samples drawn from all seen samples, by reservoir sampling (Vitter 1985, algorithm R).

    Attributes:
        size: Maximum number of stored samples.
        generator: Random generator for the draws.
        seen: Number of samples seen so far.
        rows: The stored data of the samples, by name: ``(size, ...)`` each.
    """

    size: int
    generator: torch.Generator
    seen: int = 0
    rows: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return min(self.seen, self.size)

    @property
    def bits(self) -> int:
        """Size of the stored samples in bits."""
        return sum(8 * each.element_size() * each.numel() for each in self.rows.values())

    @torch.no_grad()
    def add(self, **batch: Tensor) -> None:
        """Offer a batch of samples, ``(batch, ...)`` each.

        Samples are processed in order: if several get the same place, the last one is stored.
        """
        count = len(next(iter(batch.values())))
        if not self.rows:
            self.rows = {name: x.new_zeros((self.size, *x.shape[1:])) for name, x in batch.items()}
        for row in range(count):
            place = self.seen
            if place >= self.size:
                place = int(torch.randint(self.seen + 1, (), generator=self.generator))
            self.seen += 1
            if place < self.size:
                for name, x in batch.items():
                    self.rows[name][place] = x[row]

    def draw(self, count: int) -> dict[str, Tensor]:
        """Return `count` different stored samples, or all if there are fewer."""
        order = torch.randperm(len(self), generator=self.generator)[:count]
        return {name: x[order] for name, x in self.rows.items()}


def size_of(value: object) -> int:
    """Return the size in bits of all tensors in a container."""
    return sum(8 * each.element_size() * each.numel() for each in leaves(value))


def kept(value: object) -> object:
    """Return a copy of a container with copies of all its tensors."""
    return replaced(value, lambda x: x.detach().clone())
