"""The tables of whole networks, with every cell as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from beyondprop.experiment.summary import interval, mean
from beyondprop.measure.base import ABSENT
from beyondprop.report.distilled.findings import scores_at
from beyondprop.report.distilled.records import Distillation
from beyondprop.report.table import TableCell
from beyondprop.report.text import ScoreFormat, capital, count, percent, share


@dataclass(frozen=True)
class NetworkLine:
    """A line of the table of whole networks."""

    budget: str
    seed: int
    way: str
    cells: tuple[str, ...]
    outcome: str
    troubled: bool


def way_headings(found: Distillation) -> list[str]:
    """Return the headings after that of the budget."""
    return ["Operations kept", "Teacher", *map(capital, found.ways.values())]


def way_lines(found: Distillation) -> list[tuple[str, list[TableCell]]]:
    """Return, by budget, the mean scores over seeds of the teacher and of every method."""
    return [
        (share(budget), [_kept(found, place), *_reached(found, place)])
        for place, budget in enumerate(found.budgets)
    ]


def _kept(found: Distillation, place: int) -> TableCell:
    seeds = found.known(place)
    if not seeds:
        return TableCell(ABSENT, ("no assembly",))
    kept = [value for each in seeds if (value := each.assemblies[place].kept) is not None]
    lacking = len(found.seeds) - len(seeds)
    return TableCell(
        percent(mean(kept)), (f"{len(seeds)} of {len(found.seeds)} seeds",) * bool(lacking)
    )


def _reached(found: Distillation, place: int) -> Iterator[TableCell]:
    """Yield the cells of the teacher and of every method; a mark shows a rate at an end."""
    edges = {
        name: any(
            way in (ways := each.assemblies[place].ways) and ways[way].edge
            for each in found.known(place)
        )
        for way, name in found.ways.items()
    }
    for name, scores in scores_at(found, place).items():
        yield _score(scores, ScoreFormat.of(found.task), edges.get(name, False))


def _score(values: Sequence[float | None], scores: ScoreFormat, edge: bool) -> TableCell:
    known = [value for value in values if value is not None]
    if not values:
        return TableCell(ABSENT)
    if len(known) < len(values):  # a mean over the others would hide the failure
        return TableCell(ABSENT, (f"failed: {len(values) - len(known)} of {len(values)}",))
    spread = interval(known)
    small = () if spread is None else (f"± {scores.bare((spread[1] - spread[0]) / 2)}",)
    return TableCell(scores.full(mean(known)) + " †" * edge, small)


def way_caption(found: Distillation) -> str:
    """Return the caption of the table of methods."""
    told = [f"Test {found.task.metric} of whole networks."]
    if len(found.seeds) > 1:
        told.append("± is half of the 95% interval of the mean over seeds (Student's t).")
    cells = [cell for _, line in way_lines(found) for cell in line]
    if any("†" in cell.text for cell in cells):
        told.append("†: a chosen learning rate lies at the edge of those tried.")
    told.append(
        "End to end, pruned and scratch each get as much computation as capture, the students and"
        " healing together."
    )
    if len(found.budgets) > 1:
        told.append(
            "Shared: the students' computation is divided among the budgets. Whole: each budget"
            " counts all of it. Pruned and scratch get the shared amount."
        )
    return " ".join(told)


NETWORK_HEADINGS = ("Validation", "Learning rate", "Steps")


def network_lines(found: Distillation) -> list[NetworkLine]:
    """Return a line for each whole network, by budget, seed and method."""
    scores = ScoreFormat.of(found.task)
    return [
        NetworkLine(
            budget=share(budget),
            seed=seed.seed,
            way=name,
            cells=(
                scores.full(reached.score),
                scores.full(reached.validation),
                ABSENT if reached.rate is None else f"{reached.rate:.3g}" + " †" * reached.edge,
                count(reached.steps),
            ),
            outcome=f"failed: {reached.failed}" if reached.failed else "finished",
            troubled=bool(reached.failed),
        )
        for place, budget in enumerate(found.budgets)
        for seed in found.known(place)
        for way, name in found.ways.items()
        if (reached := seed.assemblies[place].ways.get(way)) is not None
    ]
