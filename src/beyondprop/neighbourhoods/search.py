"""Selects students for a model under a budget, by integer programming and without training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from torch import nn

from beyondprop.errors import UserError
from beyondprop.neighbourhoods.cost import cost_of, seconds_of
from beyondprop.neighbourhoods.labels import TEACHER
from beyondprop.neighbourhoods.library import Library

SIZE = 1e3
"""Scores are scaled to this maximum, as the solver stops at an absolute gap of 1e-6."""


@dataclass(frozen=True)
class Option:
    """A possible replacement of a neighbourhood.

    Attributes:
        score: Its expected harm to the complete model; the search minimises the sum over
            neighbourhoods.
        costs: Costs by name: ``parameters``, ``operations``, ``bytes``, ``seconds``.
    """

    score: float
    costs: Mapping[str, float]


Options = Mapping[str, Mapping[str, Option]]
"""Options by neighbourhood and label."""


@dataclass(frozen=True)
class Assembly:
    """One choice for every neighbourhood.

    Attributes:
        choice: Labels by the names of neighbourhoods, as for `Library.merge`; neighbourhoods that
            keep the teacher's piece are left out.
        score: The sum of its options' scores.
        costs: The sums of their costs.
    """

    choice: Mapping[str, str]
    score: float
    costs: Mapping[str, float]


def options_of(
    teacher: nn.Module,
    library: Library,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    timed: bool = False,
) -> dict[str, dict[str, Option]]:
    """Return the options for each neighbourhood: its students, and the teacher's piece.

    Args:
        teacher: The teacher, in eval mode.
        library: The teacher's students.
        scores: The score of each student, by default its error. `replaced_alone` gives better
            scores.
        timed: Whether pieces are timed on this machine, which should then run nothing else.

    Raises:
        UserError: A student has no score.
    """
    known = errors(library) if scores is None else scores
    check_scores(library, known)
    found: dict[str, dict[str, Option]] = {}
    for each in library.neighbourhoods:
        call = library.samples[each.name]
        students = library.students[each.name]
        pieces = {TEACHER: each.piece(teacher)}
        pieces |= {label: library.piece(teacher, each, label) for label in students}
        found[each.name] = {
            label: Option(
                0.0 if label == TEACHER else known[each.name][label],
                asdict(cost_of(piece, call))
                | ({"seconds": seconds_of(piece, call)} if timed else {}),
            )
            for label, piece in pieces.items()
        }
    return found


def errors(library: Library) -> dict[str, dict[str, float]]:
    """Return each student's error, by neighbourhood and label."""
    return {
        name: {label: one.error for label, one in of.items()}
        for name, of in library.students.items()
    }


def check_scores(library: Library, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Raise unless each student has a score.

    Raises:
        UserError: A student has no score.
    """
    for name, of in library.students.items():
        for label in of:
            if label not in scores.get(name, {}):
                raise UserError(f"there is no score for '{name}', {label}: give one per student")


def replaced_alone(
    teacher: nn.Module, library: Library, loss: Callable[[nn.Module], float]
) -> dict[str, dict[str, float]]:
    """Return how much a loss of the complete model rises if only one student is put in.

    Nothing is trained, and each student is scored by its effect on the model's output (Bercovich et
    al., "Puzzle", arXiv 2411.19146, section 4).

    Args:
        teacher: The teacher, in eval mode.
        library: The teacher's students.
        loss: Returns the loss of a complete model on validation data.
    """
    whole = loss(teacher)
    return {
        each.name: {
            label: loss(library.merge(teacher, {each.name: label})) - whole
            for label in library.students[each.name]
        }
        for each in library.neighbourhoods
    }


def search(options: Options, budget: Mapping[str, float], count: int = 1) -> list[Assembly]:
    """Return the assemblies with the smallest sums of scores within a budget, best first.

    Each has one option for each neighbourhood and is an optimum of an integer program, not of a
    heuristic. An option whose score is not finite, such as that of a student that diverged, is
    never chosen, and a warning says so.

    Args:
        options: The options of every neighbourhood.
        budget: The limits of total costs, by name; a limit of 0 allows only options without cost.
        count: The number of assemblies; fewer are returned if there are no more.

    Raises:
        UserError: No assembly is within the budget, a cost is not known, or a limit is not a number
            of 0 or more.
    """
    check_limits(options, budget, count)
    names = within(options, budget)
    found: list[Assembly] = []
    over: list[Assembly] = []  # the solver accepts tiny excesses over a budget
    while len(found) < count:
        chosen = _solved(options, names, budget, [*found, *over])
        if chosen is None:
            break
        right = all(chosen.costs[cost] <= most for cost, most in budget.items())
        (found if right else over).append(chosen)
    if not found:
        raise UserError(f"no assembly is within the budget: {_least(options, budget)}")
    return sorted(found, key=lambda each: each.score)


def check_limits(options: Options, budget: Mapping[str, float], count: int) -> None:
    """Raise unless the count and all limits of a search are valid.

    Raises:
        UserError: The count or a limit is out of range, or a cost is not known.
    """
    if count < 1:
        raise UserError(f"count must be a whole number > 0, not {count}")
    for cost, most in budget.items():
        if not most >= 0:  # also rejects NaN
            raise UserError(f"the budget of {cost} must be a number of 0 or more, not {most}")
        for name, of in options.items():
            for label, each in of.items():
                if cost not in each.costs:
                    raise UserError(f"the cost {cost!r} of '{name}', {label} is not known")


def within(options: Options, budget: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return the options that can be chosen: their scores are finite, and each fits the budget.

    Raises:
        UserError: No option of a neighbourhood has a finite score.
    """
    scored = {
        name: [label for label, each in of.items() if math.isfinite(each.score)]
        for name, of in options.items()
    }
    left = [(name, label) for name, of in options.items() for label in of]
    left = [(name, label) for name, label in left if label not in scored[name]]
    for name, labels in scored.items():
        if not labels:
            raise UserError(f"'{name}' has no option whose score is a number")
    if left:
        told = ", ".join(f"'{name}', {label}" for name, label in left)
        warnings.warn(f"not chosen, because their scores are not numbers: {told}", stacklevel=3)
    return [
        (name, label)
        for name, labels in scored.items()
        for label in labels
        if all(options[name][label].costs[cost] <= most for cost, most in budget.items())
    ]


def _solved(
    options: Options,
    names: list[tuple[str, str]],
    budget: Mapping[str, float],
    known: list[Assembly],
) -> Assembly | None:
    """Return the best assembly that is not known yet, or None if there are no more."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    if {name for name, _ in names} != set(options):
        return None
    of = [options[name][label] for name, label in names]
    one_each = np.array([[float(name == each) for name, _ in names] for each in options])
    constraints = [LinearConstraint(one_each, 1, 1)]
    for cost, most in budget.items():  # as fractions of the budget, so that all have the same scale
        if 0 < most < math.inf:  # under a budget of 0, only options without cost are left
            shares = [[each.costs[cost] / most for each in of]]
            constraints.append(LinearConstraint(shares, -math.inf, 1 + 1e-9))
    for earlier in known:  # at least one choice must differ
        same = [float(earlier.choice.get(name, TEACHER) == label) for name, label in names]
        constraints.append(LinearConstraint([same], -math.inf, len(options) - 1))
    largest = max(abs(each.score) for each in of) or 1.0
    result = milp(
        [SIZE * each.score / largest for each in of],
        constraints=constraints,
        integrality=np.ones(len(names)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        return None
    taken = [place for place, value in enumerate(result.x) if value > 0.5]
    costs = {cost for each in of for cost in each.costs}
    return Assembly(
        {names[place][0]: names[place][1] for place in taken if names[place][1] != TEACHER},
        sum(of[place].score for place in taken),
        {cost: sum(of[place].costs.get(cost, math.nan) for place in taken) for cost in costs},
    )


def _least(options: Options, budget: Mapping[str, float]) -> str:
    """Return the smallest possible total of each cost next to its budget."""
    told = []
    for cost, most in budget.items():
        least = sum(
            min(each.costs[cost] for each in of.values() if math.isfinite(each.score))
            for of in options.values()
        )
        told.append(f"{cost} {most:.3g} where {least:.3g} is the least")
    return ", ".join(told)
