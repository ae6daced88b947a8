"""A comparison's record for pages, also one from before budgeted searches and three controls."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from beyondprop.experiment import summary
from beyondprop.experiment.assess import ABSURD
from beyondprop.experiment.tuning import at_edges
from beyondprop.report.read import read_comparison
from beyondprop.report.records import BACKPROP, FROZEN, Comparison, RuleRow, Trial

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """The content of a comparison for pages.

    Attributes:
        facts: The comparison.
        old: Whether it is from before budgeted searches and three controls.
        edges: The rules whose chosen learning rate is at an edge of those tried.
        absurd: Runs recorded as finished, with a loss that now counts as a divergence, by rule.
    """

    facts: Comparison
    old: bool
    edges: tuple[str, ...]
    absurd: Mapping[str, tuple[int, ...]]

    @property
    def solved(self) -> bool:
        """Whether the last layer of frozen is solved."""
        return any(run.solved for run in self.facts.runs if run.rule == FROZEN)

    @property
    def lower(self) -> RuleRow | None:
        """The stronger lower control, if it has a score."""
        row = self.facts.row(self.facts.below)
        return row if row is not None and row.score_mean is not None else None

    @property
    def upper(self) -> RuleRow | None:
        """Backprop, if it has a score."""
        row = self.facts.row(BACKPROP)
        return row if row is not None and row.score_mean is not None else None


KNOWN: deque[tuple[Record, Shown]] = deque(maxlen=64)
"""Records that were read, with their content for pages: every page of a rule needs all of them."""


def shown(record: Record) -> Shown:
    """Return the content of a comparison's record, which must not change afterwards."""
    for one, found in KNOWN:
        if one is record:
            return found
    found = read(record)
    KNOWN.append((record, found))
    return found


def read(record: Record) -> Shown:
    """Return the content of a record that was not read before."""
    facts = read_comparison(record)
    if not any("recovery_below" in row for row in record["rows"]):
        facts = replace(facts, rows=tuple(_paired(facts, record)))
    tuning = record["tuning"]
    return Shown(facts, "searches" not in tuning, tuple(at_edges(tuning)), _absurd(record))


def _paired(facts: Comparison, record: Record) -> list[RuleRow]:
    """Return the rows of an older record with recoveries as computed today: paired by seed, with an
    interval, and none if the controls' intervals overlap.
    """
    names = [row.rule for row in facts.rows]
    runs = {name: [r for r in record["runs"] if r["rule"]["name"] == name] for name in names}
    scores = {name: summary.by_seed(own, None) for name, own in runs.items()}
    below = summary.lower_control(scores)
    reason = summary.no_recovery(scores, below)
    found = {name: summary.recovered(scores, name, below, reason) for name in names}
    return [replace(row, **found[row.rule]) for row in facts.rows]


def _absurd(record: Record) -> dict[str, tuple[int, ...]]:
    """Return, by rule, the seeds of finished runs whose validation loss was once a thousand times
    the untrained model's; such runs are now recorded as diverged.
    """
    found: dict[str, tuple[int, ...]] = {}
    for run in record["runs"]:
        losses = [point["validation_loss"] for point in run["curve"]]
        if run["status"] == "finished" and any(
            loss is None or abs(loss) > ABSURD * max(1.0, abs(losses[0])) for loss in losses[1:]
        ):
            name = run["rule"]["name"]
            found[name] = (*found.get(name, ()), run["seed"])
    return found


def longest(facts: Comparison, rule: str, optimizer: str) -> Trial | None:
    """Return the best finished trial among a rule's longest ones with an optimizer."""
    own = [
        trial
        for trial in facts.tuning.trials
        if (trial.rule, trial.optimizer) == (rule, optimizer) and trial.score is not None
    ]
    most = max((trial.epochs for trial in own), default=0)
    return max(
        (trial for trial in own if trial.epochs == most),
        key=lambda trial: trial.score or 0.0,
        default=None,
    )


def optimizers(facts: Comparison) -> list[str]:
    """Return the optimizers that the search chose from; none if there was no choice."""
    names = list(dict.fromkeys(t.optimizer for t in facts.tuning.trials if t.optimizer))
    return names if len(names) > 1 else []
