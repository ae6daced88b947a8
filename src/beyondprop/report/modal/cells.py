"""Table cells for numbers over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from beyondprop.experiment.statistics import Difference, paired
from beyondprop.experiment.summary import mean
from beyondprop.measure.base import ABSENT
from beyondprop.report.table import TableCell
from beyondprop.report.text import ScoreFormat, rate

SHARES = ScoreFormat("share", percent=True, decimals=1)
WEIGHTS = ScoreFormat("weight", percent=False, decimals=3)


def averaged(values: Sequence[float | None], scores: ScoreFormat) -> TableCell:
    """Return a mean over seeds, with half of its 95% interval below, and the number of seeds if
    some have no number.
    """
    known = [value for value in values if value is not None]
    if not known:
        return TableCell(ABSENT)
    found = paired(known)
    small = [] if found is None else [f"± {scores.bare((found.high - found.low) / 2)}"]
    if len(known) < len(values):
        small.append(f"{len(known)} of {len(values)} seeds")
    return TableCell(scores.full(mean(known)), tuple(small))


def signed(value: float, scores: ScoreFormat) -> str:
    """Return a difference with its sign; a rounded zero has no sign."""
    text = scores.bare(value)
    return f"+{text}" if value > 0 and any(digit in text for digit in "123456789") else text


def written(pair: Difference, scores: ScoreFormat) -> str:
    """Return a difference with its sign and half of its interval."""
    half = scores.bare((pair.interval.high - pair.interval.low) / 2)
    return f"{signed(pair.interval.value, scores)} ± {half}"


def difference(
    first: Sequence[float | None],
    second: Sequence[float | None],
    scores: ScoreFormat,
    resolution: float = 0.0,
) -> TableCell:
    """Return the mean difference of two numbers over the seeds that have both, with its interval.

    Args:
        first: One number per seed.
        second: The numbers that are subtracted.
        scores: The format of both.
        resolution: The smallest possible difference, as in `paired`.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not pairs:
        return TableCell(ABSENT)
    found = paired([a for a, _ in pairs], [b for _, b in pairs], resolution=resolution)
    if found is None:
        return TableCell(signed(pairs[0][0] - pairs[0][1], scores))
    half = scores.bare((found.high - found.low) / 2)
    return TableCell(signed(found.value, scores), (f"± {half}",))


def rates(values: Sequence[float | None], edges: Sequence[bool]) -> TableCell:
    """Return the learning rates that seeds chose, with a mark if one is at an end of its range."""
    known = sorted({value for value in values if value is not None})
    if not known:
        return TableCell(ABSENT)
    marked = sum(edges)
    text = _ends(known, lambda value: rate(float(f"{value:.3g}"))) + " †" * bool(marked)
    return TableCell(text, (f"† {marked} of {len(edges)} seeds",) * (0 < marked < len(edges)))


def spanned(values: Sequence[float | None], write: Callable[[float], str]) -> TableCell:
    """Return a number, or the range of several."""
    known = [value for value in values if value is not None]
    return TableCell(_ends(known, write) if known else ABSENT)


def _ends(values: Sequence[float], write: Callable[[float], str]) -> str:
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"
