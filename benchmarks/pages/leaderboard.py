"""The leaderboard: every rule of every recorded comparison in one table to filter and sort.

    python -m benchmarks.pages.leaderboard [FILE]

writes one HTML file that opens anywhere (`build/leaderboard.html` by default). The documentation
site has the same table: `docs/conf.py` inserts it into `docs/leaderboard.md` in the build of the
site, so it is always made from the current records and is not stored in the repository.
"""

import shlex
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.common.records import RESULTS, ROOT, load
from beyondprop.files import write_bytes
from beyondprop.measure.base import ABSENT
from beyondprop.report.pages import environment
from beyondprop.report.read import read_comparison
from beyondprop.report.records import BACKPROP, CONTROLS, Comparison, RuleRow
from beyondprop.report.rulebook import About, about, documentation, known
from beyondprop.report.style import styles
from beyondprop.report.text import ScoreFormat, percent, ratio

FILE = ROOT / "build/leaderboard.html"
TEMPLATE = Path(__file__).with_name("leaderboard.html.jinja")
ABOVE, ALIKE, BELOW, OPEN, CONTROL = (
    *("above", "not significant", "below", "not known"),
    "a control",
)
"""How a rule compares with the stronger lower control."""


@dataclass(frozen=True)
class Row:
    """A rule in a recorded comparison, with every cell as text."""

    record: str
    task: str
    data: str
    rule: str
    about: About
    metric: str
    score: str
    deviation: str
    recovery: str
    between: str
    stands: str
    step: str
    memory: str
    seeds: int
    lost: int
    command: str


def main(file: str | None = None) -> None:
    """Write the leaderboard as one file and print its path.

    Args:
        file: The path of the file. Default: `FILE`.
    """
    to = Path(file) if file else FILE
    to.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(to, offline().encode())
    print(f"leaderboard: {to}")


def offline() -> str:
    """Return the leaderboard as a self-contained page."""
    return _rendered(embedded=False, docs=documentation(), settings="")


def embedded(docs: str, settings: str) -> str:
    """Return the leaderboard as part of a page of the site.

    Args:
        docs: The path of the guides, relative to the page.
        settings: The path of the settings of comparisons.
    """
    return _rendered(embedded=True, docs=docs, settings=settings)


def _rendered(*, embedded: bool, docs: str, settings: str) -> str:
    found = rows()
    drawn = styles(dict.fromkeys(row.rule for row in found))
    template = environment().from_string(TEMPLATE.read_text("utf-8"))
    return template.render(
        rows=found,
        tasks=sorted({row.task for row in found}),
        rules={each.rule: each.about for each in sorted(found, key=_by_name)},
        stands=(ABOVE, ALIKE, BELOW, OPEN, CONTROL),
        styles=drawn,
        known=known(drawn),
        comparisons=len({row.record for row in found}),
        embedded=embedded,
        docs=docs,
        settings=settings,
    )


def _by_name(row: Row) -> str:
    return row.about.name.lower()


@lru_cache(maxsize=1)
def rows() -> list[Row]:
    """Return every rule of every comparison: by task and record, the best score first."""
    found = []
    for path in sorted((RESULTS / "comparisons").glob("*.json")):
        comparison = read_comparison(load(f"comparisons/{path.stem}"), path.name)
        found += [row(path.stem, comparison, each) for each in _best_first(comparison)]
    return sorted(found, key=lambda each: (each.task, each.record))


def _best_first(comparison: Comparison) -> list[RuleRow]:
    return sorted(
        comparison.rows,
        key=lambda row: -1e9 if row.score_mean is None else row.score_mean,
        reverse=True,
    )


def row(record: str, comparison: Comparison, found: RuleRow) -> Row:
    """Return a rule's row.

    Args:
        record: The comparison's name in `results/comparisons`.
        comparison: The comparison.
        found: The rule's figures in it.
    """
    scores, interval = ScoreFormat.of(comparison.task), found.recovery_interval
    own = found.recovery is not None and found.rule not in (BACKPROP, comparison.below)
    return Row(
        record=record,
        task=comparison.task.name,
        data=comparison.task.data,
        rule=found.rule,
        about=about(found.rule),
        metric=scores.metric,
        score=scores.full(found.score_mean),
        deviation="" if found.spread is None else f"± {scores.bare(found.spread)}",
        recovery=percent(found.recovery) if own else ABSENT,
        between=" to ".join(map(percent, interval)) if own and interval else "",
        stands=stands(found),
        step=ratio(found.number("step_ratio")),
        memory=ratio(found.number("memory_ratio")),
        seeds=found.runs,
        lost=found.runs - found.finished,
        command=command(record, comparison, found.rule),
    )


def stands(found: RuleRow) -> str:
    """Return how a rule compares with the lower control, by its interval of recovery."""
    if found.rule in CONTROLS:
        return CONTROL
    if found.recovery_interval is None:
        return OPEN
    low, high = found.recovery_interval
    return ABOVE if low > 0 else BELOW if high < 0 else ALIKE


def command(record: str, comparison: Comparison, rule: str) -> str:
    """Return the command that reproduces a row, with the controls that it is compared with.

    A rule with arguments is run with all rules of its comparison, as spelled in its settings.
    """
    words = ["beyondprop", "compare", "--config", f"results/comparisons/{record}.yaml"]
    asked = [each for each in comparison.spec.get("rules") or () if isinstance(each, str)]
    if rule in asked:
        controls = [each for each in asked if each in CONTROLS and each != rule]
        words += ["--rules", rule, *controls]
    return shlex.join(words)


if __name__ == "__main__":
    main(*sys.argv[1:2])
