"""Capture: one pass of the teacher over the data writes what each neighbourhood gets and gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves
from beyondprop._torch.weights import weights
from beyondprop.errors import UserError
from beyondprop.files import GIB, read_json, write_json
from beyondprop.neighbourhoods import shards
from beyondprop.neighbourhoods.activations import Cached
from beyondprop.neighbourhoods.calls import calls
from beyondprop.neighbourhoods.contents import content
from beyondprop.neighbourhoods.data import Batch, first_batch, size, some
from beyondprop.neighbourhoods.interfaces import interfaces
from beyondprop.neighbourhoods.layout import Layout
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood

CALLS = "calls.json"
"""In a neighbourhood's folder: its shards. It is written last."""
MIB = 2**20


@dataclass(frozen=True)
class Cache:
    """How activations are stored.

    Attributes:
        dtype: Of real numbers in the files: torch.float16, which has three digits and ends at
            65,504, torch.bfloat16, which has two and no such end, or None for the teacher's own.
        gib: GiB that all neighbourhoods take together, at most. The data ends where they are full:
            students then see its first samples alone.
        shard_mib: MiB of a neighbourhood that are held before they are written.

    Raises:
        UserError: A number is not above zero, or the dtype has no real numbers.
    """

    dtype: torch.dtype | None = torch.float16
    gib: float = 8.0
    shard_mib: float = 64.0

    def __post_init__(self) -> None:
        if not (self.gib > 0 and self.shard_mib > 0):
            raise UserError(f"a cache takes more than 0 GiB, not {self.gib} ({self.shard_mib} MiB)")
        if self.dtype is not None and not self.dtype.is_floating_point:
            raise UserError(f"a cache stores real numbers, not {self.dtype}")

    def stored(self, tensor: Tensor) -> Tensor:
        """Return a tensor as it is stored, on the CPU."""
        kind = self.dtype if tensor.is_floating_point() and self.dtype else tensor.dtype
        return tensor.detach().to("cpu", kind)

    def width(self, tensor: Tensor) -> int:
        """Return the bytes of a tensor as it is stored."""
        kind = self.dtype if tensor.is_floating_point() and self.dtype else tensor.dtype
        return tensor.numel() * kind.itemsize


@dataclass
class Shelf:
    """The shards of one neighbourhood as they are filled.

    Attributes:
        folder: Of the neighbourhood.
        layout: Of its calls.
        cache: How they are stored.
        held: Tensors of batches that are not written yet.
        counts: Samples of each shard.
        digests: Of each shard's file.
    """

    folder: Path
    layout: Layout
    cache: Cache
    held: list[list[Tensor]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def add(self, rows: Sequence[Tensor]) -> None:
        """Add the tensors of a batch, and write a shard where there are enough.

        Raises:
            UserError: A number is too large for the dtype, or the disk is full.
        """
        stored = [self.cache.stored(each) for each in rows]
        for own, each in zip(stored, rows, strict=True):
            if own.is_floating_point() and bool((own.isinf() & each.isfinite().cpu()).any()):
                raise UserError(
                    f"activations in {self.folder.name} reach {each.abs().max().item():.3g}, too "
                    f"large for {own.dtype}: store them as torch.bfloat16, or as they are"
                )
        self.held.append(stored)
        if sum(self.cache.width(each) for batch in self.held for each in batch) >= (
            self.cache.shard_mib * MIB
        ):
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if not self.held:
            return
        joined = [torch.cat(parts) for parts in zip(*self.held, strict=True)]
        self.digests.append(shards.write(self.folder, len(self.counts), joined))
        self.counts.append(len(joined[0]))
        self.held = []


def capture(
    teacher: nn.Module,
    wanted: Sequence[Neighbourhood],
    data: Iterable[Batch],
    folder: Path,
    cache: Cache | None = None,
) -> dict[str, Cached]:
    """Return the calls of all neighbourhoods, which one pass of the teacher over the data writes.

    What an earlier capture of the same teacher and data has written as a whole is read, not
    captured again. To see that, the data is read once more than the teacher needs it.

    Args:
        teacher: In eval mode.
        wanted: The neighbourhoods.
        data: Batches that the teacher is called with; it can be iterated again and again, and gives
            the same each time.
        folder: A folder of each neighbourhood is made in it.
        cache: How activations are stored; in half precision and 8 GiB by default.

    Raises:
        UserError: There is no data, a neighbourhood can't be trained on its own, the disk is full.
        StorageError: A file cannot be written or read.
    """
    own = cache or Cache()
    found = interfaces(teacher, wanted, first_batch(data))
    room = samples_within(found.values(), own)
    asked = request(teacher, data, room, own)
    earlier = {
        each.name: read_calls(folder / each.name, found[each.name], asked) for each in wanted
    }
    missing = [each for each in wanted if earlier[each.name] is None]
    if missing:
        shelves = {each.name: Shelf(folder / each.name, found[each.name], own) for each in missing}
        for batch in some(data, room):
            for name, call in calls(teacher, missing, batch).items():
                shelves[name].add(found[name].flat(call))
        for shelf in shelves.values():
            shelf.flush()
            made = {"shards": shelf.counts, "digests": shelf.digests}
            write_json(shelf.folder / CALLS, {"asked": asked} | made)
    kept = (
        earlier[each.name] or read_calls(folder / each.name, found[each.name], asked)
        for each in wanted
    )
    return {each.name: one for each, one in zip(wanted, kept, strict=True) if one is not None}


def samples_within(known: Iterable[Layout], cache: Cache) -> int:
    """Return of how many samples the calls fit into the cache.

    Raises:
        UserError: Of none.
    """
    sample, room = bytes_a_sample(known, cache), int(cache.gib * GIB)
    if sample > room:
        raise UserError(
            f"the activations of one sample take {sample / MIB:.1f} MiB, more than the cache's "
            f"{room / MIB:.1f}: give it more, or take fewer neighbourhoods"
        )
    return room // max(1, sample)


def bytes_a_sample(known: Iterable[Layout], cache: Cache) -> int:
    """Return the bytes that one sample takes in the cache, all neighbourhoods together."""
    return sum(cache.width(each) for layout in known for each in layout.flat(layout.sample))


def request(
    teacher: nn.Module, data: Iterable[Batch], samples: int, cache: Cache
) -> dict[str, Any]:
    """Return what a cache must be made of to be taken again."""
    digest, count = hashlib.sha256(), 0
    for batch in some(data, samples):
        count += size(batch)
        for each in leaves(batch):
            digest.update(content(each))
    return {
        "teacher": hashlib.sha256(weights(teacher)).hexdigest(),
        "data": digest.hexdigest(),
        "samples": count,
        "dtype": str(cache.dtype),
    }


def read_calls(folder: Path, layout: Layout, asked: dict[str, Any]) -> Cached | None:
    """Return the calls that an earlier capture has written, if it was asked for the same."""
    found = read_json(folder / CALLS, f"delete {folder} and capture again")
    if found is None or found["asked"] != asked:
        return None
    return Cached(folder, layout, tuple(found["shards"]), tuple(found["digests"]))
