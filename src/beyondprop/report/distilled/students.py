"""The table of students, with every cell as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beyondprop.experiment.summary import mean
from beyondprop.measure.base import ABSENT
from beyondprop.neighbourhoods import TEACHER
from beyondprop.report.distilled.records import Distillation, OfSeed, Piece, Student
from beyondprop.report.table import TableCell
from beyondprop.report.text import count, listing, minus, percent, share


@dataclass(frozen=True)
class StudentLine:
    """A line of the table of students: means over seeds, with the range as small text below."""

    neighbourhood: str
    candidate: str
    cells: tuple[TableCell, ...]
    chosen: str


STUDENT_HEADINGS = ("Error", "Loss increase", "Parameters", "Operations", "Steps")


def student_lines(found: Distillation) -> list[StudentLine]:
    """Return a line for each student, in the order of the network and of the candidates."""
    return [
        _student_line(found, name, candidate)
        for name in found.neighbourhoods
        for candidate in dict.fromkeys(
            label for each in found.seeds for label in each.students.get(name, {})
        )
    ]


def student_caption(found: Distillation) -> str:
    """Return the caption of the table of students."""
    told = [
        "Errors and loss increases are measured on validation data. Parameters and operations are"
        " relative to the teacher's piece, with the numbers themselves below."
    ]
    if len(found.seeds) > 1:
        told.append("Figures are means over seeds; where seeds differ, their range is below.")
    return " ".join(told)


def _student_line(found: Distillation, name: str, candidate: str) -> StudentLine:
    made = [
        (seed, seed.students[name][candidate])
        for seed in found.seeds
        if candidate in seed.students.get(name, {})
    ]
    students = [student for _, student in made]
    return StudentLine(
        neighbourhood=name,
        candidate=candidate,
        cells=(
            _over_seeds([each.error for each in students], figure),
            _over_seeds([each.alone for each in students], rise),
            _relative(made, name, lambda cost: cost.parameters),
            _relative(made, name, lambda cost: cost.operations),
            _over_seeds([each.steps for each in students], count),
        ),
        chosen=_chosen(found, name, candidate),
    )


def _over_seeds(values: Sequence[float | None], write: Callable[[float], str]) -> TableCell:
    """Return a mean with its range if values differ."""
    known = [value for value in values if value is not None]
    if not known:
        return TableCell(ABSENT)
    ends = [write(min(known)), write(max(known))]
    return TableCell(write(mean(known) or 0.0), (" to ".join(ends),) if ends[0] != ends[1] else ())


def _relative(
    made: Sequence[tuple[OfSeed, Student]], name: str, cost: Callable[[Piece], float | None]
) -> TableCell:
    """Return a cost relative to the teacher's piece, with the cost itself below; only the cost if
    that of the piece is unknown.
    """
    absolute = _over_seeds([cost(student.cost) for _, student in made], count)
    shares = [
        relative(cost(student.cost), cost(seed.pieces[name]))
        for seed, student in made
        if name in seed.pieces
    ]
    told = _over_seeds(shares, percent)
    return absolute if told.text == ABSENT else TableCell(told.text, (absolute.text,))


def relative(part: float | None, whole: float | None) -> float | None:
    """Return the ratio of a part to the whole; None if either is unknown or the whole is zero."""
    return None if part is None or not whole else part / whole


def _chosen(found: Distillation, name: str, candidate: str) -> str:
    """Return within which budgets a student is chosen, with the number of seeds."""
    told = []
    for place, budget in enumerate(found.budgets):
        seeds = found.known(place)
        choices = [each.assemblies[place].choice.get(name, TEACHER) for each in seeds]
        if times := choices.count(candidate):
            of = f" ({times} of {len(seeds)} seeds)" * (times < len(seeds))
            told.append(share(budget) + of)
    return listing(told) if told else ABSENT


def absent(found: Distillation) -> list[str]:
    """Return a sentence for each candidate that lacks a student in some neighbourhood."""
    told = []
    for candidate in found.candidates:
        lacking = [
            name
            for name in found.neighbourhoods
            if any(candidate not in each.students.get(name, {}) for each in found.seeds)
        ]
        if lacking:
            every = len(lacking) == len(found.neighbourhoods) > 1
            where = "any neighbourhood" if every else listing(lacking)
            told.append(f"{candidate} has no student for {where}.")
    if told:
        told.append("The log.txt in each seed's folder gives the reason for a missing student.")
    return told


def figure(value: float, digits: int = 3) -> str:
    """Return a number with a few significant digits."""
    return minus(f"{value:#.{digits}g}".rstrip("."))


def rise(value: float, digits: int = 3) -> str:
    """Return an increase with its sign and a few significant digits; a decrease has a minus."""
    return minus(f"{value:+#.{digits}g}".rstrip("."))
