"""Search of a learning rate: several rates are tried, and more beyond the ends of their range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.progress import Progress

from beyondprop.jobs import Executor, Job, values
from beyondprop.pieces.stopping import no_number

FACTOR = 3.0
"""Ratio of the next rate to one at the end of the tried range."""
MORE = 3
"""Maximum number of extensions of the given rates."""

TRIAL, SEARCHED = "trial_operations", "searched_operations"
"""Floating-point operations of one attempt, and of all attempts."""

Found = dict[float, dict[str, Any]]
"""Results by learning rate."""


class Attempt(Protocol):
    """A training at one learning rate."""

    @property
    def name(self) -> str:
        """Display name."""

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train, and return the result.

        It contains the ``rate``, and either the reason why it ``failed``, or at least a
        ``validation_score`` and a ``validation_loss``. It may contain the operations of the
        training, also of one that failed, as ``trial_operations``.
        """

    def earlier(self) -> dict[str, Any] | None:
        """Return the result of an earlier call, or None."""


class Subject(Protocol):
    """Something to train at several learning rates."""

    def attempt(self, rate: float) -> Attempt:
        """Return its training at a learning rate."""


def searched(
    subjects: Sequence[Subject], rates: Sequence[float], title: str, executor: Executor
) -> list[dict[str, Any]]:
    """Return the result of each subject at its best learning rate.

    Every learning rate is tried, and further ones while the best is at an end of the tried range,
    up to a limit. The result is that of the rate with the best validation score. Its cost does not
    include the search; if attempts report their operations, their sum is ``searched_operations``.
    An attempt fails if its validation loss or score is not a finite number, and a subject fails if
    all attempts fail.
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
    """Return an attempt's result in one line."""
    known = settled(found)
    reached = known.get("failed") or f"validation score {known['validation_score']:.4f}"
    return f"learning rate {found['rate']:.3g} · {reached}"


def settled(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attempt's result, as failed if its validation loss or score is not a finite number.

    Such a number is None in a file and can't be compared. The operations of the training are kept.
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
    """Return the best result, with the rates that were tried and the operations of all attempts."""
    known = [each for each in found.values() if "failed" not in each]
    spent = [each[TRIAL] for each in found.values() if TRIAL in each]
    cost = {SEARCHED: sum(spent)} if spent else {}
    if not known:
        return next(iter(found.values())) | cost
    return max(known, key=quality) | {"rates": sorted(found), "edge": bool(beyond(found))} | cost


def beyond(found: Found) -> tuple[float, ...]:
    """Return the next rates beyond the best one; none if the best is between others."""
    known = {rate: each for rate, each in found.items() if "failed" not in each}
    if not known:
        return ()
    top = max(known, key=lambda rate: quality(known[rate]))
    below, above = (top / FACTOR,) * (top == min(found)), (top * FACTOR,) * (top == max(found))
    return below + above


def quality(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return a sort key that is greater for a better model, from the validation data."""
    return found["validation_score"], -found["validation_loss"]
