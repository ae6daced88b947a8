"""The tables of a scaling study, and its notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from beyondprop.experiment.summary import UPPER
from beyondprop.measure.base import ABSENT

COLUMNS = ("exponent", "less backprop's", "offset", "the gap", "ahead")
"""Columns of a table of laws, after the rule."""
MOST = 1000
"""Ratios of costs from here are shown only as larger than this number."""

WORDS = {
    "parameters": "parameters",
    "samples": "training samples",
    "operations": "floating-point operations of training",
    "seconds": "seconds of training",
}
"""Names of the axes in tables."""


def laws_table(record: Mapping[str, Any], axis: str) -> Table | None:
    """Return the table of laws along an axis, one row for each rule; None if there are none."""
    if not has_law(record, axis):
        return None
    shown = Table(
        title=f"test loss against {WORDS[axis]}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    shown.add_column("rule", no_wrap=True)
    for column in COLUMNS:
        shown.add_column(column, justify="right", no_wrap=True)
    for rule, found in rows(record, axis):
        shown.add_row(rule, *found)
    return shown


def has_law(record: Mapping[str, Any], axis: str) -> bool:
    """Whether a rule has a law along an axis."""
    return any("exponent" in found for found in record["laws"][axis].values())


def rows(record: Mapping[str, Any], axis: str) -> list[tuple[str, list[str]]]:
    """Return each rule with its cells, in the order of `COLUMNS`."""
    against = record["against"][axis]
    return [
        (rule, cells(found, against.get(rule, {}))) for rule, found in record["laws"][axis].items()
    ]


def cells(found: Mapping[str, Any], against: Mapping[str, Any]) -> list[str]:
    """Return the cells of one rule: exponent, difference, offset, gap, and whether it is ahead."""
    return [
        interval(found.get("exponent")),
        interval(against.get("exponent")),
        interval(found.get("offset")) if found.get("offset") else "not resolved",
        against.get("gap", ABSENT),
        against.get("ahead", ABSENT),
    ]


def interval(values: Sequence[float] | None) -> str:
    """Return value, low and high: `0.112 (0.101 to 0.123)`."""
    if values is None:
        return ABSENT
    value, low, high = values
    return f"{value:.3f} ({low:.3f} to {high:.3f})".replace("-", "\N{MINUS SIGN}")


def answers(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the conclusions on each rule: whether its gap closes, and whether it is ahead."""
    for rule, found in record["against"]["parameters"].items():
        if rule in ("frozen", "linear"):
            continue
        yield f"{rule}: {closing(found)} {leading(record['against']['operations'].get(rule))}"
    edges = sorted({f"{run['rule']} at {run['size']}" for run in record["runs"] if run.get("edge")})
    if edges:
        yield (
            "The search ended at the edge of its learning rates, so another rate may be better, "
            f"for {', '.join(edges)}."
        )
    lost = lost_runs(record)
    if lost:
        yield f"Runs that did not finish are left out of the laws: {lost}."


def closing(found: Mapping[str, Any]) -> str:
    """Return the conclusion on a rule's gap to backprop with more parameters."""
    known = {
        "closes": "its gap to backprop closes with more parameters",
        "opens": "its gap to backprop opens with more parameters",
        "crosses": "its loss crosses backprop's with more parameters",
        "not resolved": "the sizes do not resolve whether its gap to backprop closes or opens",
    }
    if "gap" not in found:
        return f"no law is fitted to its gap ({found.get('reason', 'not known')})."
    told = f"{known[found['gap']]}: the exponents differ by {interval(found['exponent'])}"
    first, last = found["ratios"][0], found["ratios"][-1]
    return (
        f"{told}; its loss is {first[0]:.2f} times {UPPER}'s at the small end and {last[0]:.2f} "
        "at the large one."
    )


def leading(found: Mapping[str, Any] | None) -> str:
    """Return the conclusion on whether a rule is ahead at equal computation."""
    if found is None or "ahead" not in found:
        return "It cannot be compared at equal computation."
    known = {
        "somewhere": "At equal computation, it is ahead somewhere in the range",
        "never": "At equal computation, it is never ahead in the range",
        "not resolved": "The laws do not resolve which is ahead at equal computation in the range",
    }
    low, high = (found["places"][i] for i in (0, -1))
    told = f"{known[found['ahead']]} of {low:.2g} to {high:.2g} operations"
    return f"{told}. For the same loss it takes {price(found['costs'])} times {UPPER}'s."


def price(costs: Sequence[Sequence[float]]) -> str:
    """Return the ratio of a rule's operations to backprop's at both ends of the range."""
    first, last = (factor(costs[i]) for i in (0, -1))
    return first if first == last else f"from {first} to {last}"


def factor(values: Sequence[float]) -> str:
    """Return value, low and high of a ratio: `1.3 (0.9 to 2.1)`; large ones as a bound."""
    value, low, high = map(_short, values)
    return f"{value} ({low} to {high})"


def _short(ratio: float) -> str:
    if ratio >= MOST:
        return f"over {MOST:,}"
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def lost_runs(record: Mapping[str, Any]) -> str:
    """Return the number of runs that did not finish, by rule; empty if there are none."""
    lost: dict[str, int] = {}
    for run in record["runs"]:
        if run["status"] != "finished":
            lost[run["rule"]] = lost.get(run["rule"], 0) + 1
    return ", ".join(f"{count} of {rule}" for rule, count in lost.items())
