"""A memory of a fixed number of samples, each seen sample equally likely in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from beyondprop._torch.pytrees import leaves, replaced


@dataclass
class Reservoir:
    """Samples drawn from all that were seen, by reservoir sampling (Vitter 1985, algorithm R).

    Attributes:
        size: Maximum number of samples that it holds.
        generator: Draws.
        seen: Samples so far.
        rows: What is kept of each sample, by name: ``(size, ...)`` each.
    """

    size: int
    generator: torch.Generator
    seen: int = 0
    rows: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return min(self.seen, self.size)

    @property
    def bits(self) -> int:
        """What the kept samples take."""
        return sum(8 * each.element_size() * each.numel() for each in self.rows.values())

    @torch.no_grad()
    def add(self, **batch: Tensor) -> None:
        """Offer a batch of samples, ``(batch, ...)`` each.

        Of the ones that fall to the same place the last one stays, as one by one.
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
        """Return this many of the kept samples, all different; fewer where it holds fewer."""
        order = torch.randperm(len(self), generator=self.generator)[:count]
        return {name: x[order] for name, x in self.rows.items()}


def size_of(value: object) -> int:
    """Return the bits of all tensors in a container."""
    return sum(8 * each.element_size() * each.numel() for each in leaves(value))


def kept(value: object) -> object:
    """Return a copy of all tensors in a container."""
    return replaced(value, lambda x: x.detach().clone())
