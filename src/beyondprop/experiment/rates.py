"""The learning rate of whatever is trained: several are tried, and more beyond an end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.progress import Progress

from beyondprop.jobs import Executor, Job, values
from beyondprop.pieces.stopping import no_number

FACTOR = 3.0
"""Between a rate at an end of those that were tried and the next one."""
MORE = 3
"""Rates that are tried beyond those that are given, at most."""

TRIAL, SEARCHED = "trial_operations", "searched_operations"
"""Floating-point operations of one attempt, and of all that were tried."""

Found = dict[float, dict[str, Any]]
"""What is reached, by learning rate."""


class Attempt(Protocol):
    """A training at one learning rate."""

    @property
    def name(self) -> str:
        """As people read it."""

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train; return what is reached: a ``rate``, and why it ``failed``, or a
        ``validation_score`` and a ``validation_loss`` among others. What the training took, also
        one that failed, may be there as ``trial_operations``.
        """

    def earlier(self) -> dict[str, Any] | None:
        """Return what an earlier call has found."""


class Subject(Protocol):
    """What is to be trained."""

    def attempt(self, rate: float) -> Attempt:
        """Return its training at a learning rate."""


def searched(
    subjects: Sequence[Subject], rates: Sequence[float], title: str, executor: Executor
) -> list[dict[str, Any]]:
    """Return the result of each subject at its best learning rate.

    Every learning rate is tried, and further ones as long as the best is at an end of those; the
    one with the best validation score is taken. What the others cost is charged to none; where
    attempts tell what they took, it is there as ``searched_operations``. One whose validation loss
    or score is no number has failed; where all have, so has the subject.
    """
    found: list[Found] = [{} for _ in subjects]
    for number in range(1 + MORE):
        wanted = [
            (place, rate, subject.attempt(rate))
            for place, subject in enumerate(subjects)
            for rate in (beyond(found[place]) if number else rates)
        ]
        if not wanted:
            break
        jobs = [Job(each.name, each.work, each.earlier) for _, _, each in wanted]
        made = values(executor.perform(title, jobs, told))
        for (place, rate, _), value in zip(wanted, made, strict=True):
            found[place][rate] = settled(value)
    return [best(each) for each in found]


def told(found: Mapping[str, Any]) -> str:
    """Return what a model reaches in one line."""
    known = settled(found)
    reached = known.get("failed") or f"validation score {known['validation_score']:.4f}"
    return f"learning rate {found['rate']:.3g} · {reached}"


def settled(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model reaches; where its validation loss or score is no number, it failed.

    Such a number is None in a file, and what is None can't be compared. What the training took
    stays known.
    """
    if "failed" in found:
        return dict(found)
    for what in ("loss", "score"):
        value = found[f"validation_{what}"]
        if value is None or not math.isfinite(value):
            kept = {key: found[key] for key in ("rate", TRIAL) if key in found}
            return kept | {"failed": no_number(found["rate"], what)}
    return dict(found)


def best(found: Found) -> dict[str, Any]:
    """Return the best of what a model reaches, at which rates it was trained, and what all took."""
    known = [each for each in found.values() if "failed" not in each]
    spent = [each[TRIAL] for each in found.values() if TRIAL in each]
    cost = {SEARCHED: sum(spent)} if spent else {}
    if not known:
        return next(iter(found.values())) | cost
    return max(known, key=quality) | {"rates": sorted(found), "edge": bool(beyond(found))} | cost


def beyond(found: Found) -> tuple[float, ...]:
    """Return the next rates beyond the best one, none where that lies between others."""
    known = {rate: each for rate, each in found.items() if "failed" not in each}
    if not known:
        return ()
    top = max(known, key=lambda rate: quality(known[rate]))
    below, above = (top / FACTOR,) * (top == min(found)), (top * FACTOR,) * (top == max(found))
    return below + above


def quality(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return what is greater of a better model, by the validation data."""
    return found["validation_score"], -found["validation_loss"]
