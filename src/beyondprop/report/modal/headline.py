"""The finding of a comparison of methods for several modalities in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.modaling import LATE, SINGLE
from beyondprop.report.differences import ABOVE, ALIKE, BELOW, ONE_SEED, UNKNOWN
from beyondprop.report.modal.findings import Findings, findings, scores_of
from beyondprop.report.modal.records import JOINT, ModalComparison, title
from beyondprop.report.text import ScoreFormat, listing, plural

FIRST = (JOINT, SINGLE, LATE)
"""The methods that sentences name first."""
NAMED = 4
"""Most methods of one verdict that a headline names one by one."""
ORDER = (BELOW, ALIKE, UNKNOWN, ABOVE)
"""Verdicts without a gain come first."""


def headline(found: ModalComparison) -> str:
    """Return the finding in one sentence: pre-training compared with every other method, without
    claims whose interval contains the opposite.
    """
    share = found.spec.get("dropout")
    dropped = f", modality dropout {share}" if isinstance(share, float) and share else ""
    subject, known = f"{found.task.name}{dropped}: {OURS}", findings(found)
    if OURS not in found.methods:
        return f"{subject} is not among the methods"
    if not known.seeds:
        return f"{subject} failed with every seed"
    if not known.others:
        return f"{subject} is the only method"
    if known.seeds == 1:
        return f"{subject} reaches {_scores(found)}; {ONE_SEED}"
    of = f" of {len(found.seeds)}" * (known.seeds < len(found.seeds))
    seeds = f"({known.seeds}{of} seeds)"
    return f"{subject} {_clauses(known, ScoreFormat.of(found.task))} {seeds}"


def helps(found: ModalComparison) -> bool:
    """Whether pre-training scores above joint training, or above any method if that is missing."""
    known = findings(found)
    return known.seeds > 1 and not _no_gain(known)


def _no_gain(known: Findings) -> str:
    """Return that pre-training gains nothing, or nothing over joint training; otherwise empty."""
    above = known.verdicts().get(ABOVE, ())
    if not above:
        return "shows no gain: it "
    return "shows no gain over joint training: it " * (JOINT in set(known.others) - set(above))


def _clauses(known: Findings, scores: ScoreFormat) -> str:
    """Return each verdict with its methods, those without a gain first."""
    verdicts = known.verdicts()
    start = _no_gain(known)
    if len(verdicts) == 1 and len(known.others) > 1:
        (words,) = verdicts
        every = "any of the" if words in (ALIKE, UNKNOWN) else "all"
        others = f"{every} {len(known.others)} other methods"
        return f"{start}{words} {others}{_range(known, words, scores)}"
    told = [
        f"{words} {_methods(known, words, verdicts[words], scores)}"
        for words in ORDER
        if words in verdicts
    ]
    return start + "; it ".join(told)


def _methods(known: Findings, words: str, names: Sequence[str], scores: ScoreFormat) -> str:
    """Return the methods of one verdict: with sizes if significant; all that are better."""
    first = [name for name in FIRST if name in names]
    ordered = [*first, *(name for name in names if name not in first)]
    shown = ordered if words == BELOW or len(ordered) <= NAMED else ordered[: len(first) or NAMED]
    told = [title(name) + _by(known, words, name, scores) for name in shown]
    more = len(ordered) - len(shown)
    return listing([*told, *([plural(more, "other")] if more else [])])


def _by(known: Findings, words: str, name: str, scores: ScoreFormat) -> str:
    """Return the size of a significant difference."""
    if words not in (ABOVE, BELOW):
        return ""
    pair = known.pairs[name].interval
    half = (pair.high - pair.low) / 2
    return f" (by {scores.bare(abs(pair.value))} ± {scores.bare(half)}{_unit(scores)})"


def _range(known: Findings, words: str, scores: ScoreFormat) -> str:
    """Return the range of sizes of all significant differences."""
    if words not in (ABOVE, BELOW):
        return ""
    sizes = sorted(abs(pair.interval.value) for pair in known.pairs.values())
    return f" (by {scores.bare(sizes[0])} to {scores.bare(sizes[-1])}{_unit(scores)})"


def _unit(scores: ScoreFormat) -> str:
    return " points" * scores.percent


def _scores(found: ModalComparison) -> str:
    """Return the scores of one seed, compared with the methods that are named first."""
    scores, reached = ScoreFormat.of(found.task), scores_of(found)
    ours = next(iter(reached[OURS]))
    beside = [
        f"{title(name)} {scores.full(reached[name][ours])}"
        for name in FIRST
        if ours in reached.get(name, {})
    ]
    return scores.full(reached[OURS][ours]) + f" ({', '.join(beside)})" * bool(beside)
