"""Numbers and lists as people read them; an absent number is an en dash."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from beyondprop.measure import Column
from beyondprop.measure.base import ABSENT
from beyondprop.report.records import TaskFacts

NOT_MEASURED = "not measured"
# With at least this many test examples, accuracies have two decimals.
FINE = 5000


@dataclass(frozen=True)
class ScoreFormat:
    """The format of a task's scores: accuracies in percent, others as plain numbers."""

    metric: str
    percent: bool
    decimals: int

    @classmethod
    def of(cls, task: TaskFacts) -> ScoreFormat:
        """Return the format of the scores of `task`."""
        percent = "accuracy" in task.metric.lower()
        return cls(task.metric, percent, 3 if not percent else 2 if (task.test or 0) >= FINE else 1)

    @property
    def unit(self) -> str:
        """The unit after a score: a percent sign or nothing."""
        return "%" if self.percent else ""

    def bare(self, value: float | None) -> str:
        """Return a score, or a difference of scores, without its unit."""
        if value is None:
            return ABSENT
        return minus(f"{value * 100 if self.percent else value:.{self.decimals}f}")

    def full(self, value: float | None) -> str:
        """Return a score with its unit."""
        return ABSENT if value is None else self.bare(value) + self.unit


def minus(text: str) -> str:
    """Return `text` with real minus signs, and without the sign of a rounded zero."""
    if text.startswith("-") and not any(digit in text for digit in "123456789"):
        text = text[1:]
    return text.replace("-", "\N{MINUS SIGN}")


def percent(value: float | None) -> str:
    """Return 0.973 as `97%`."""
    return ABSENT if value is None else minus(f"{value * 100:.0f}%")


def share(value: float) -> str:
    """Return 0.125 as `12.5%`: up to three digits, without trailing zeros."""
    return f"{100 * value:.3g}%"


def ratio(value: float | None) -> str:
    """Return 0.84 as `0.84×`."""
    return ABSENT if value is None else f"{value:.2f}×"


def count(value: float | None) -> str:
    """Return 123456 as `123,456`."""
    return ABSENT if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return a learning rate in a short form."""
    return ABSENT if value is None else minus(f"{value:g}")


def duration(seconds: float | None) -> str:
    """Return a time in a suitable unit: `0.61 ms`, `12.3 s`, `4 min 10 s`, `2 h 05 min`."""
    if seconds is None:
        return ABSENT
    if seconds < 0.1:
        return f"{seconds * 1e3:#.3g}".rstrip(".") + " ms"
    if seconds < 100:
        return f"{seconds:.{2 if seconds < 10 else 1}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(bytes_: float | None) -> str:
    """Return a number of bytes in MiB, with about three digits."""
    if bytes_ is None:
        return ABSENT
    mebibytes = bytes_ / 2**20
    return f"{mebibytes:,.{2 if mebibytes < 10 else 1 if mebibytes < 100 else 0}f} MiB"


def figure(column: Column, value: Any) -> str:
    """Return a measured figure in its column's format; a pair of numbers as `0.82–0.87×`."""
    if isinstance(value, list | tuple) and len(value) == 2 and None not in value:
        low, high = value
        return minus(f"{column.text(low).removesuffix(column.unit)}–{column.text(high)}")
    if isinstance(value, int | float) and column.unit in UNITS:
        return UNITS[column.unit](value)
    return ABSENT if isinstance(value, list | tuple | dict) else minus(column.text(value))


UNITS = {"s": duration, "bytes": size}
"""Formats of figures whose unit depends on their size."""


def capital(text: str) -> str:
    """Return `text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def plural(n: int, noun: str) -> str:
    """Return `1 run`, `2 runs`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listing(items: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def by_reason(reasons: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    """Yield each reason of a failure once, without its full stop, with its seeds.

    Args:
        reasons: The reasons by seed.
    """
    for reason in dict.fromkeys(reasons.values()):
        own = [str(seed) for seed, each in reasons.items() if each == reason]
        yield reason.removesuffix("."), f"seed{'s' * (len(own) > 1)} {listing(own)}"


def shorten(text: str, length: int = 22) -> str:
    """Return `text`, or its end if it is longer than `length`: the ends of dotted names differ."""
    return text if len(text) <= length else "…" + text[1 - length :]


MODULE = re.compile(r"[A-Za-z_][\w.]*:(?=[A-Za-z_])")
"""The module part in the name of a user's own object."""

_SHORT: ContextVar[Mapping[str, str]] = ContextVar("short names of rules")


def label(rule: str) -> str:
    """Return a rule's displayed name: short names are upper-case abbreviations (`DFA`), and a
    user's own rule has no module on a page (see `short_names`).
    """
    short = _SHORT.get({}).get(rule)
    if short is not None:
        return short
    return rule.upper() if rule.isalpha() and len(rule) <= 4 else rule


def is_shortened(rule: str) -> bool:
    """Whether a page shows a rule without its module."""
    return rule in _SHORT.get({})


@contextmanager
def short_names(rules: Iterable[str], taken: Iterable[str] = ()) -> Iterator[None]:
    """Within the context, `label` leaves out the modules of a user's own rules, unless two rules
    would get the same name.

    Args:
        rules: The rules of a page.
        taken: Names that no other rule may get.
    """
    unique = list(dict.fromkeys(rules))
    short = {rule: MODULE.sub("", rule) for rule in unique}
    often = Counter(name.casefold() for name in short.values())
    others = {name.casefold() for name in taken}
    token = _SHORT.set(
        {
            rule: name
            for rule, name in short.items()
            if name != rule and often[name.casefold()] == 1 and name.casefold() not in others
        }
    )
    try:
        yield
    finally:
        _SHORT.reset(token)
