"""Batches of data that can be read repeatedly."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any

from beyondprop._torch.pytrees import form, leaves, replaced
from beyondprop.errors import UserError
from beyondprop.pieces.contents import content

Batch = Any
"""A model's inputs: a tensor, a tuple or list of arguments, or a mapping of them; see
`beyondprop._torch.calling`.
"""


@dataclass(frozen=True)
class Inputs:
    """The inputs of batches of (inputs, targets), for example from a DataLoader.

    Attributes:
        pairs: Batches that can be iterated repeatedly, with the same result each time.
    """

    pairs: Iterable[tuple[Batch, Any]]

    def __iter__(self) -> Iterator[Batch]:
        check_again(self.pairs)
        for inputs, _ in self.pairs:
            yield inputs

    def __len__(self) -> int:
        return length(self.pairs)


def first(batch: Batch, count: int) -> Batch:
    """Return the first samples of a batch."""
    return replaced(batch, lambda tensor: tensor[:count])


def size(batch: Batch) -> int:
    """Return the number of samples in a batch.

    Raises:
        UserError: The batch has no tensor, or tensors of different lengths.
    """
    lengths = {len(each) if each.dim() else 0 for each in leaves(batch)}
    if len(lengths) != 1 or 0 in lengths:
        found = ", ".join(str(tuple(each.shape)) for each in leaves(batch)) or "no tensor"
        raise UserError(
            f"a batch must hold tensors with one row per sample, all of one length, not {found}"
        )
    return lengths.pop()


def sizes(samples: int, most: int) -> list[int]:
    """Return the sizes of a pass's batches, which differ by at most one sample.

    This avoids a last batch with a single sample, which a batch norm rejects.
    """
    count = -(-samples // most)
    return [samples // count + (place < samples % count) for place in range(count)]


def check_again(data: Iterable[Any], called: str = "data") -> None:
    """Raise unless data can be iterated repeatedly.

    Raises:
        UserError: The data is an iterator, or not iterable.
    """
    if isinstance(data, Iterator) or not isinstance(data, Iterable):
        raise UserError(
            f"the {called} is a {type(data).__name__}, which can't be iterated repeatedly: give a "
            "list of batches or a DataLoader"
        )


def first_batch(data: Iterable[Batch], called: str = "data") -> Batch:
    """Return the first batch of data that can be iterated repeatedly.

    Raises:
        UserError: There is no batch, or the data can't be iterated repeatedly.
    """
    check_again(data, called)
    for batch in data:
        return batch
    raise UserError(f"the {called} gave no batch")


def some(data: Iterable[Batch], samples: int) -> Iterator[Batch]:
    """Yield the batches of the first samples of the data, the last one cut to the number."""
    left = samples
    for batch in data:
        count = min(size(batch), left)
        yield first(batch, count)
        left -= count
        if not left:
            return


def length(data: Iterable[Any]) -> int:
    """Return the number of batches in the data.

    Raises:
        UserError: The data has no batches, or no length.
    """
    check_again(data)
    try:
        found = len(data) if isinstance(data, Sized) else None
    except TypeError:  # a DataLoader of a data set that has no length
        found = None
    if found is None:
        raise UserError("the data needs a length: give a list of batches or a DataLoader")
    if not found:
        raise UserError("the data gave no batch")
    return found


def look(data: Iterable[Batch], samples: int = sys.maxsize) -> tuple[str, int]:
    """Return the SHA-256 and the number of the first samples of data, which is read once."""
    digest, count = hashlib.sha256(), 0
    for batch in some(data, samples):
        count += size(batch)
        digest.update(form(first(batch, 1)).encode())
        for each in leaves(batch):
            digest.update(content(each))
    return digest.hexdigest(), count
