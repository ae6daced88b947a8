"""Capture: one pass of the teacher over the data stores each neighbourhood's calls."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.files import GIB, StorageError, cannot, read_json, write_json
from beyondprop.neighbourhoods import shards
from beyondprop.neighbourhoods.activations import Cached
from beyondprop.neighbourhoods.calls import calls
from beyondprop.neighbourhoods.interfaces import interfaces
from beyondprop.neighbourhoods.layout import Layout
from beyondprop.neighbourhoods.masks import is_added_mask
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.pieces.contents import digest_of_model
from beyondprop.pieces.data import Batch, first_batch, look, some
from beyondprop.registry import check_fields, file_name
from beyondprop.registry.limits import Positive

CALLS = "calls.json"
"""Lists the shards in a neighbourhood's folder; written last."""
MIB = 2**20


@dataclass(frozen=True)
class Cache:
    """How activations are stored.

    Attributes:
        dtype: The dtype of real numbers in the files: torch.float16, with three digits and a
            maximum of 65,504, torch.bfloat16, with two digits and no such limit, or None for the
            teacher's own.
        gib: The limit in GiB for all neighbourhoods on disk together, including validation data. If
            not everything fits, students get only the first samples of each; validation data uses
            at most half of the space.
        shard_mib: MiB of a neighbourhood that are held in memory before they are written.

    Raises:
        UserError: A number is not above zero, or the dtype is not a floating-point type.
    """

    dtype: torch.dtype | None = torch.float16
    gib: Positive = 8.0
    shard_mib: Positive = 64.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.dtype is not None and not self.dtype.is_floating_point:
            raise UserError(f"a cache stores real numbers, not {self.dtype}")

    def kind(self, tensor: Tensor) -> torch.dtype:
        """Return the dtype in which a tensor is stored.

        An additive mask keeps its own dtype, because it holds that dtype's largest number; so does
        a tensor that holds only zeros, such as this mask when nothing is masked.
        """
        if self.dtype is None or not tensor.is_floating_point():
            return tensor.dtype
        kept = is_added_mask(tensor) or not bool(tensor.any())
        return tensor.dtype if kept else self.dtype

    def stored(self, tensor: Tensor) -> Tensor:
        """Return a tensor as it is stored, on the CPU."""
        return tensor.detach().to("cpu", self.kind(tensor))

    def width(self, tensor: Tensor) -> int:
        """Return the stored size of a tensor in bytes."""
        return tensor.numel() * self.kind(tensor).itemsize


@dataclass
class Shelf:
    """The shards of one neighbourhood during a capture.

    Attributes:
        folder: The folder of the neighbourhood.
        layout: The layout of its calls.
        cache: How the calls are stored.
        held: Tensors of batches that are not written yet.
        counts: The number of samples in each shard.
        digests: The digest of each shard's file.
    """

    folder: Path
    layout: Layout
    cache: Cache
    held: list[list[Tensor]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def add(self, rows: Sequence[Tensor]) -> None:
        """Add the tensors of a batch, and write a shard when enough are held.

        Raises:
            UserError: A number is too large for the dtype, or the disk is full.
        """
        stored = [self.cache.stored(each) for each in rows]
        for own, each in zip(stored, rows, strict=True):
            if own.is_floating_point() and bool((own.isinf() & each.isfinite().cpu()).any()):
                wider = None if own.dtype == torch.bfloat16 else torch.bfloat16
                raise UserError(
                    f"activations in {self.folder.name} reach {each.abs().max().item():.3g}, too "
                    f"large for {own.dtype}: store them with Cache(dtype={wider})"
                )
        self.held.append(stored)
        held = sum(each.numel() * each.itemsize for batch in self.held for each in batch)
        if held >= self.cache.shard_mib * MIB:
            self.flush()

    def flush(self) -> None:
        """Write the held batches as a shard."""
        if not self.held:
            return
        joined = [torch.cat(parts) for parts in zip(*self.held, strict=True)]
        self.digests.append(shards.write(self.folder, len(self.counts), joined))
        self.counts.append(len(joined[0]))
        self.held = []


@dataclass(frozen=True)
class Part:
    """A part of the data whose calls are captured.

    Attributes:
        called: Its name in messages.
        data: Batches of the teacher's inputs; they can be iterated repeatedly, with the same result
            each time.
        folder: Contains a folder for each neighbourhood.
    """

    called: str
    data: Iterable[Batch]
    folder: Path


@dataclass(frozen=True)
class Capturing:
    """The capture of one part of the data.

    Attributes:
        part: The part of the data.
        layouts: The layout of each neighbourhood's calls.
        samples: The number of samples, taken from the start.
        asked: Everything that must match for an earlier cache to be reused.
        cache: How activations are stored.
    """

    part: Part
    layouts: Mapping[str, Layout]
    samples: int
    asked: Mapping[str, Any]
    cache: Cache

    def folder(self, name: str) -> Path:
        """Return a neighbourhood's folder."""
        return self.part.folder / file_name(name)

    def found(self, name: str) -> Cached | None:
        """Return the calls that an earlier capture with the same settings wrote, or None."""
        folder = self.folder(name)
        known = read_json(folder / CALLS, f"delete {folder} and capture again")
        if known is None or known.get("asked") != self.asked:
            return None
        counts, digests = known.get("shards"), known.get("digests")
        if not (_all_are(counts, int) and _all_are(digests, str) and len(counts) == len(digests)):
            raise StorageError(
                f"{folder / CALLS} was not written by a capture: delete {folder} and capture again"
            )
        return Cached(folder, self.layouts[name], tuple(counts), tuple(digests))

    def missing(self, wanted: Sequence[Neighbourhood]) -> list[Neighbourhood]:
        """Return the neighbourhoods without stored calls."""
        return [each for each in wanted if self.found(each.name) is None]

    def need(self, missing: Sequence[Neighbourhood]) -> int:
        """Return the size of missing calls in bytes."""
        return self.samples * bytes_a_sample(
            [self.layouts[each.name] for each in missing], self.cache
        )

    def clear(self) -> None:
        """Delete all calls that are not reused, as they count against the limit."""
        clear(self.part.folder, {file_name(name) for name in self.layouts if self.found(name)})

    def write(self, teacher: nn.Module, missing: Sequence[Neighbourhood]) -> None:
        """Write the calls of neighbourhoods in one pass of the teacher."""
        shelves = {
            each.name: Shelf(self.folder(each.name), self.layouts[each.name], self.cache)
            for each in missing
        }
        for batch in some(self.part.data, self.samples):
            for name, call in calls(teacher, missing, batch).items():
                shelves[name].add(self.layouts[name].rows_in(name, call))
        for shelf in shelves.values():
            shelf.flush()
            made = {"shards": shelf.counts, "digests": shelf.digests}
            write_json(shelf.folder / CALLS, {"asked": dict(self.asked)} | made)


def _all_are(values: Any, kind: type) -> TypeGuard[list[Any]]:
    """Whether values are a list of only this type."""
    return isinstance(values, list) and all(type(each) is kind for each in values)


def capture(
    teacher: nn.Module,
    wanted: Sequence[Neighbourhood],
    data: Iterable[Batch],
    folder: Path,
    cache: Cache | None = None,
) -> dict[str, Cached]:
    """Return the calls of all neighbourhoods, stored by one pass of the teacher over the data.

    Complete calls from an earlier capture of the same teacher and data are reused; other calls in
    the folder are deleted. To compare the data, it is read one additional time.

    Args:
        teacher: The teacher, in eval mode.
        wanted: The neighbourhoods.
        data: Batches of the teacher's inputs; they can be iterated repeatedly, with the same result
            each time.
        folder: Contains a folder for each neighbourhood.
        cache: How activations are stored; in half precision and up to 8 GiB by default.

    Raises:
        UserError: There is no data, a neighbourhood can't be trained on its own, or the disk is
            full.
        StorageError: A file cannot be written or read.
    """
    return captured(teacher, wanted, [Part("data", data, folder)], cache or Cache())[0]


def captured(
    teacher: nn.Module, wanted: Sequence[Neighbourhood], parts: Sequence[Part], cache: Cache
) -> list[dict[str, Cached]]:
    """Return the calls of all neighbourhoods for each part of the data; see `capture`.

    All parts share the cache's space, which must be free on the disk before the teacher runs.
    """
    layouts = [interfaces(teacher, wanted, first_batch(part.data, part.called)) for part in parts]
    room = samples_within([[*found.values()] for found in layouts], cache)
    seen = [look(part.data, room) for part in parts]
    samples = shares([count for _, count in seen], room)
    of = digest_of_model(teacher)
    made = [
        Capturing(
            part,
            found,
            count,
            {"teacher": of, "data": digest, "samples": count, "dtype": str(cache.dtype)},
            cache,
        )
        for part, found, (digest, _), count in zip(parts, layouts, seen, samples, strict=True)
    ]
    for each in made:
        each.clear()
    missing = [each.missing(wanted) for each in made]
    need = sum(each.need(lacking) for each, lacking in zip(made, missing, strict=True))
    shards.check_room(parts[0].folder, need)
    for each, lacking in zip(made, missing, strict=True):
        if lacking:
            each.write(teacher, lacking)
    return [
        {name: kept for name in each.layouts if (kept := each.found(name)) is not None}
        for each in made
    ]


def clear(folder: Path, kept: Collection[str] = ()) -> None:
    """Delete the calls that were captured in a folder, except those of the neighbourhoods to keep.

    Raises:
        StorageError: A file or folder cannot be deleted.
    """
    for inner in [each for each in folder.glob("*/") if each.name not in kept]:
        try:
            for file in [inner / CALLS, *shards.files(inner)]:
                file.unlink(missing_ok=True)
            if not any(inner.iterdir()):
                inner.rmdir()
        except OSError as error:
            raise cannot("delete", inner, error) from None


def shares(counts: Sequence[int], room: int) -> list[int]:
    """Return how many samples of each part fit.

    If not everything fits, the space is divided in proportion to the sizes of the parts, where each
    size counts at most as the total space; so no part must be read beyond that.
    """
    known = [min(count, room) for count in counts]
    whole = sum(known)
    if whole <= room:
        return known
    rest = [max(1, count * room // whole) for count in known[1:]]
    return [max(1, room - sum(rest)), *rest]


def samples_within(known: Sequence[Sequence[Layout]], cache: Cache) -> int:
    """Return the number of samples whose calls fit into the cache.

    Args:
        known: For each part of the data, the layouts of the neighbourhoods' calls.
        cache: How the calls are stored.

    Raises:
        UserError: The cache can't hold one sample of each part.
    """
    sample = max(bytes_a_sample(each, cache) for each in known)
    room = int(cache.gib * GIB)
    if sample * len(known) > room:
        raise UserError(
            f"the activations of one sample take {sample / MIB:.1f} MiB, but the cache has "
            f"{room / MIB:.1f} MiB for {len(known)}: give it more, or use fewer neighbourhoods"
        )
    return room // max(1, sample)


def bytes_a_sample(known: Iterable[Layout], cache: Cache) -> int:
    """Return the size in bytes of one sample in the cache, over all neighbourhoods."""
    return sum(cache.width(each) for layout in known for each in layout.flat(layout.sample))
