"""How often each rule reaches a known global minimum.

    python -m benchmarks.audit.minima

Networks learn the function of another network of the same shape, so that the lowest loss is zero:
three layers with tanh, and three linear layers. Every rule has the same starts, the same number of
Adam steps and the same search for its rate, on separate starts. Slot machines choose among fixed
values, and so does the network that they learn from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.audit import tables
from benchmarks.common.cached_runs import Figures, cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from beyondprop import rules
from beyondprop.audit.minima import PROBLEMS, Budget, Problem, Reached, chosen, reached
from beyondprop.audit.minima.known import MORE
from beyondprop.errors import UserError

WAYS = ("backprop", "fa", "dfa", "usf", "kp", "dgl", "frozen")
"""Rules that accept the error of a regression; the sixth is a local rule."""
CHOSEN = "backprop, slot machine"


def main(
    starts: int = 20,
    steps: int = 1000,
    tuning: int = 2,
    tolerance: float = 1e-2,
    workers: int = 1,
    runs: Path = Path("runs/audit/minima"),
    output: Path = Path("results/audit/minima.json"),
) -> None:
    """Train by each rule from many starts, and count those that end at the minimum.

    Args:
        starts: The number of starts that are counted.
        steps: The number of steps from each start.
        tuning: The number of further starts on which each rate is tried.
        tolerance: The largest loss at the minimum, as a share of the targets' variance.
        workers: Parallel runs, each with one thread.
        runs: Folder that caches each rule's figures on each problem.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    budget = Budget(starts=starts, steps=steps, tuning=tuning, tolerance=tolerance)
    wanted = {
        f"{problem.name}, {way}": partial(one, problem, way, budget)
        for problem in PROBLEMS
        for way in (*WAYS, CHOSEN)
    }
    folder = runs / f"{starts}-{steps}-{tuning}-{tolerance:g}"
    rows = list(cached_runs(folder, wanted, workers).values())
    spec = asdict(budget)
    save("audit/minima", spec, rows, table(rows, spec), started, output)


def one(problem: Problem, way: str, budget: Budget) -> Figures:
    """Return how often a rule reaches the minimum of a problem, or why it can't teach it."""
    set_threads(1)
    rule = rules.RULES.make("backprop" if way == CHOSEN else way)
    about = {"problem": problem.name, "way": way, "tolerance": budget.tolerance}
    try:
        found = reached(chosen(problem) if way == CHOSEN else problem, rule, budget)
    except UserError as reason:
        return about | {"refused": f"{reason}"}
    return about | figures(found)


def figures(found: Reached) -> Figures:
    """Return the result as JSON values; a loss that is not finite becomes null."""
    losses = [None if each == float("inf") else each for each in found.losses]
    figures_: Figures = {"losses": losses, "share": found.share, "interval": list(found.interval)}
    return figures_ | {"rate": found.rate, "edge": found.edge}


def table(rows: Sequence[Mapping[str, Any]], spec: Mapping[str, Any]) -> Table:
    """Return the rows as a table; the settings are those of `Budget`."""
    budget = Budget(**spec)
    heads, lines = tables.minima(rows)
    refused = [row for row in rows if "refused" in row]
    return Table(
        "How often each rule reaches a known global minimum",
        heads,
        lines,
        [
            f"Each rule has the same {budget.starts} starts and {budget.steps} steps of Adam on "
            "256 samples, with a rate that falls linearly to zero. A start reaches the minimum, "
            f"which is 0, if the loss ends below {budget.tolerance:g} of the targets' variance. "
            "Wilson's 95% interval is in brackets; the losses are the median and the lowest.",
            f"The rate is the best of {', '.join(f'{each:g}' for each in budget.rates)} on "
            f"{budget.tuning} other starts, extended by up to {MORE} rates beyond the edge if the "
            f"best lies there; {tables.MARK.strip()} marks one that is still at the edge.",
            *(f"{row['problem']}, {row['way']}: {row['refused']}." for row in refused),
        ],
    )


if __name__ == "__main__":
    command_line(main)
