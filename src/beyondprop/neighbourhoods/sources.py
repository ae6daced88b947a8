"""The data that students learn from: calls in files, recomputed calls, or drawn inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from beyondprop.errors import UserError
from beyondprop.neighbourhoods import shards
from beyondprop.neighbourhoods.activations import Activations, Streamed
from beyondprop.neighbourhoods.capture import Cache, Part, captured, clear
from beyondprop.neighbourhoods.interfaces import interfaces
from beyondprop.neighbourhoods.layout import Layout
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.neighbourhoods.synthetic import DrawnInputs, synthesized
from beyondprop.pieces.contents import digest_of_model
from beyondprop.pieces.data import Batch, first_batch, look

ACTIVATIONS, HELD = "activations", "validation"
"""Folders within a distillation's folder."""


@dataclass(frozen=True)
class Seen:
    """The data of students, by the names of neighbourhoods.

    Attributes:
        layouts: The layouts of calls.
        taught: The activations that students are trained on.
        judged: The activations that students are evaluated on.
    """

    layouts: Mapping[str, Layout]
    taught: Mapping[str, Activations]
    judged: Mapping[str, Activations]


def written(folder: Path) -> int:
    """Return the size in bytes of all activations in a distillation's folder."""
    inner = [each for name in (ACTIVATIONS, HELD) for each in (folder / name).glob("*/")]
    return sum(file.stat().st_size for each in inner for file in shards.files(each))


def check_source(cache: Cache | None, synthetic: DrawnInputs | None, streamed: bool) -> None:
    """Raise unless students have exactly one source of data.

    Raises:
        UserError: The arguments name several sources.
    """
    if streamed and synthetic is not None:
        raise UserError("inputs are either drawn or streamed: leave out synthetic or streamed")
    if streamed and cache is not None:
        raise UserError("streamed activations are not stored: leave out cache or streamed")


def from_files(
    teacher: nn.Module,
    wanted: Sequence[Neighbourhood],
    data: Iterable[Batch],
    validation: Iterable[Batch] | None,
    folder: Path,
    cache: Cache,
) -> Seen:
    """Return calls that are stored in files."""
    parts = [Part("data", data, folder / ACTIVATIONS)]
    if validation is None:
        clear(folder / HELD)  # left by an earlier run; it counts against the limit
    else:
        parts.append(Part("validation data", validation, folder / HELD))
    made = captured(teacher, wanted, parts, cache)
    return Seen({name: each.layout for name, each in made[0].items()}, made[0], made[-1])


def from_teacher(
    teacher: nn.Module,
    wanted: Sequence[Neighbourhood],
    data: Iterable[Batch],
    validation: Iterable[Batch] | None,
) -> Seen:
    """Return calls that the teacher recomputes in each pass."""
    layouts = interfaces(teacher, wanted, first_batch(data))
    taught = streams(teacher, wanted, data)
    if validation is None:
        return Seen(layouts, taught, taught)
    first_batch(validation, "validation data")
    return Seen(layouts, taught, streams(teacher, wanted, validation))


def streams(
    teacher: nn.Module, wanted: Sequence[Neighbourhood], data: Iterable[Batch]
) -> dict[str, Streamed]:
    """Return calls that the teacher recomputes; the data is read once to compute its digest."""
    seen, _ = look(data)
    digest = hashlib.sha256(f"{digest_of_model(teacher)} {seen}".encode()).hexdigest()
    return {each.name: Streamed(teacher, each, data, digest) for each in wanted}


def from_draws(
    teacher: nn.Module,
    wanted: Sequence[Neighbourhood],
    data: Iterable[Batch],
    validation: Iterable[Batch] | None,
    folder: Path,
    cache: Cache,
    synthetic: DrawnInputs,
) -> Seen:
    """Return calls on drawn inputs; students are evaluated on validation data, if there is any."""
    made = synthesized(teacher, wanted, data, synthetic)
    layouts = {name: each.layout for name, each in made.items()}
    if validation is None:
        others = {name: replace(each, seed=each.seed + 1) for name, each in made.items()}
        return Seen(layouts, made, others)
    part = Part("validation data", validation, folder / HELD)
    return Seen(layouts, made, captured(teacher, wanted, [part], cache)[0])
