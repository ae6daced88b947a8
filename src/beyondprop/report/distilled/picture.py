"""The content of the picture of a distilled network, and its caption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from beyondprop.neighbourhoods import TEACHER
from beyondprop.report.distilled.records import Distillation, OfSeed
from beyondprop.report.distilled.students import figure, relative, rise
from beyondprop.report.text import listing, percent, plural, share


@dataclass(frozen=True)
class Cell:
    """The choice for a neighbourhood within a budget.

    Attributes:
        name: The name of the candidate, or of the teacher's piece.
        share: Its share of the operations of the teacher's piece; None if unknown.
        figure: Its error or its increase of the loss; None for the teacher's piece.
        hint: All known figures.
    """

    name: str
    share: float | None
    figure: float | None
    hint: str


@dataclass(frozen=True)
class Column:
    """A budget: its heading, and a cell for each neighbourhood; no cells if it failed."""

    title: str
    below: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Picture:
    """All columns, with the meaning of their bars and colours.

    Attributes:
        names: The names of the neighbourhoods.
        parts: The share of the teacher's operations in each neighbourhood.
        columns: One per budget.
        alone: Whether colours show increases of the loss, instead of errors of pieces.
        most: The figure of the strongest colour.
    """

    names: tuple[str, ...]
    parts: tuple[float | None, ...]
    columns: tuple[Column, ...]
    alone: bool
    most: float


def shown_seed(found: Distillation, place: int) -> OfSeed | None:
    """Return the seed whose choices are shown: the first that has an assembly."""
    return next(iter(found.known(place)), None)


def by_rise(found: Distillation) -> bool:
    """Whether the increases of the loss, by which assemblies are chosen, are all known."""
    students = [one for each in found.seeds for of in each.students.values() for one in of.values()]
    return all(one.alone is not None for one in students)


def picture_of(found: Distillation) -> Picture:
    """Return the picture of a distillation."""
    alone, first = by_rise(found), found.seeds[0]
    columns = tuple(_column(found, place, alone) for place in range(len(found.budgets)))
    figures = [cell.figure for column in columns for cell in column.cells]
    return Picture(
        names=tuple(found.neighbourhoods),
        parts=tuple(
            relative(first.pieces[name].operations, first.operations)
            if name in first.pieces
            else None
            for name in found.neighbourhoods
        ),
        columns=columns,
        alone=alone,
        most=max([each for each in figures if each is not None], default=0.0),
    )


def _column(found: Distillation, place: int, alone: bool) -> Column:
    title, seed = f"within {share(found.budgets[place])}", shown_seed(found, place)
    if seed is None:
        return Column(title, "no assembly", ())
    kept = percent(seed.assemblies[place].kept)
    cells = tuple(_cell(found, place, seed, name, alone) for name in found.neighbourhoods)
    return Column(title, f"{kept} kept, seed {seed.seed}", cells)


def _cell(found: Distillation, place: int, seed: OfSeed, name: str, alone: bool) -> Cell:
    chosen = seed.assemblies[place].choice.get(name, TEACHER)
    student = seed.students.get(name, {}).get(chosen)
    seeds = found.known(place)
    same = sum(each.assemblies[place].choice.get(name, TEACHER) == chosen for each in seeds)
    hints = [f"{name}: {chosen}"]
    if len(seeds) > 1:
        hints.append(f"chosen from {same} of {len(seeds)} seeds")
    if student is None:
        return Cell(chosen, 1.0 if chosen == TEACHER else None, None, ", ".join(hints))
    piece = seed.pieces.get(name)
    part = relative(student.cost.operations, piece.operations if piece else None)
    if part is not None:
        hints.append(f"{percent(part)} of the operations")
    if student.error is not None:
        hints.append(f"error {figure(student.error)}")
    if student.alone is not None:
        hints.append(f"loss {rise(student.alone)} with only this student")
    return Cell(chosen, part, student.alone if alone else student.error, ", ".join(hints))


def caption(found: Distillation) -> str:
    """Return how to read the picture, and its seed."""
    first = found.seeds[0]
    told = [
        "The network is drawn from its first neighbourhood down. Next to each name is its share"
        " of the teacher's operations. The length of a bar, and the share next to it, show the part"
        " of the piece's operations that remains; its colour shows the other figure. A full bar is"
        " the teacher's piece."
    ]
    known = [each.operations for each in first.pieces.values() if each.operations is not None]
    if not first.pieces:
        told.append(
            "This record does not hold the cost of the teacher's pieces, so all bars are full."
        )
    elif first.operations and len(known) == len(found.neighbourhoods):
        rest = max(0.0, 1 - sum(known) / first.operations)
        told.append(f"Layers outside all neighbourhoods stay: {percent(rest)} of the operations.")
    return " ".join([*told, *_seeds(found)])


def _seeds(found: Distillation) -> Iterator[str]:
    """Yield a sentence on the budgets within which other seeds made other choices."""
    if len(found.seeds) == 1:
        return
    differing = []
    for place, budget in enumerate(found.budgets):
        choices = [each.assemblies[place].choice for each in found.known(place)]
        if other := sum(each != choices[0] for each in choices):
            differing.append(f"{share(budget)} ({other} of {plural(len(choices), 'seed')})")
    if differing:
        yield (
            "The first seed that has an assembly is shown. Other seeds chose differently within"
            f" {listing(differing)}."
        )
    elif any(found.known(place) for place in range(len(found.budgets))):
        yield "All seeds that have an assembly made the same choices."
