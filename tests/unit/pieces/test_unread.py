"""Data is read as if nobody had read it before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from beyondprop.pieces.unread import unread


class Drawing:
    """Numbers from a generator that it holds, in another order in each pass, which it counts."""

    def __init__(self, generator: Any) -> None:
        self.generator, self.passes = generator, 0
        self.itself = self

    def __iter__(self) -> Iterator[float]:
        self.passes += 1
        for _ in range(3):
            draw = self.generator
            yield draw.normal() if hasattr(draw, "normal") else draw.gauss(0, 1)


class Inside:
    """Holds it."""

    def __init__(self, generator: Any) -> None:
        self.of = Drawing(generator)

    def __iter__(self) -> Iterator[float]:
        return iter(self.of)


def loader() -> DataLoader[Any]:
    return DataLoader(list(range(9)), 3, shuffle=True, generator=torch.Generator().manual_seed(1))  # type: ignore[arg-type]


def sampled() -> DataLoader[Any]:
    data: Any = list(range(9))
    sampler = RandomSampler(data, generator=torch.Generator().manual_seed(1))
    return DataLoader(data, 3, sampler=sampler)


@pytest.mark.parametrize(
    "data",
    [
        loader(),
        sampled(),
        Drawing(np.random.default_rng(1)),
        Drawing(np.random.RandomState(1)),
        Drawing(random.Random(1)),
        Inside(np.random.default_rng(1)),
        [1.0, 2.0],
    ],
    ids=lambda data: type(data).__name__,
)
def test_several_readers_get_the_same_orders(data: Any) -> None:
    found = []
    for passes in (2, 1, 3):
        with unread(data) as own:
            found.append([torch.as_tensor(x) for x in own])
            for _ in range(passes):
                list(own)
    for other in found[1:]:
        for one, again in zip(found[0], other, strict=True):
            assert torch.equal(one, again)
    assert getattr(data, "passes", 0) == 0


def test_within_one_reader_orders_differ() -> None:
    with unread(loader()) as own:
        first, second = (torch.cat(list(own)) for _ in range(2))
    assert not torch.equal(first, second)


def test_generators_are_put_back_where_reading_fails() -> None:
    data = Drawing(random.Random(1))
    expected = data.generator.getstate()

    def stopped() -> None:
        with unread(data) as own:
            list(own)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert data.generator.getstate() == expected
