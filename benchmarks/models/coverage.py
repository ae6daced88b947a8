"""Coverage of third-party models, and of models as people commonly write them, by rule.

    python -m benchmarks.models.coverage

Every model is small, untrained and built offline; every pair of a model and a rule takes one step
on one batch. A weight counts as taught if its gradient differs from backprop's.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import select
from benchmarks.models.case import Case
from benchmarks.models.tables import coverage
from benchmarks.models.trial import TEACH, hidden_weights, trial
from benchmarks.models.zoo import MODELS


def main(
    cases: tuple[str, ...] = ("*",),
    output: Path = Path("results/models/coverage.json"),
) -> None:
    """Take one step of every rule on every model.

    Args:
        cases: Names or patterns of the models, for example "GPT-2*".
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    chosen = select(list(MODELS.values()), cases)
    rows = [row for case in chosen for row in measure(case)]
    packages = dict.fromkeys(case.package for case in chosen if case.package)
    spec = {"packages": {name: version(name) for name in packages}}
    save("models/coverage", spec, rows, table(rows), started, output)


def measure(case: Case) -> Iterator[dict[str, Any]]:
    """Yield one row per rule."""
    weights = sum(hidden_weights(case).values())
    for rule in TEACH:
        found = trial(case, rule)
        yield {
            "model": case.name,
            "kind": case.kind,
            "package": case.package,
            "call": case.call(),
            "hidden_weights": weights,
            "rule": rule,
            "share": found.share,
            "taught": found.taught,
            "refused": found.refused,
        }


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    columns, lines = coverage(rows)
    taught = sum(row["taught"] for row in rows)
    return Table(
        title="Coverage of third-party models by rule",
        columns=columns,
        rows=lines,
        notes=(
            f"{taught} of {len(rows)} pairs are taught. Cells: the share of the hidden weights "
            "that a rule teaches, without biases, norms and embeddings.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
