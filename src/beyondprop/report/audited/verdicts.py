"""The verdict of a section over all rules, in one sentence from its figures.

Rules are paired with backprop by seed. A difference is significant if Student's paired t-test
finds it after Holm's correction over all rules and figures of the section, and its interval
excludes zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

from beyondprop.experiment.statistics import Difference, chance, holm, paired
from beyondprop.report.audited.measures import Measure, measures_of
from beyondprop.report.audited.records import Asked, Audit, figures_of, title
from beyondprop.report.differences import ABOVE, ALIKE, BELOW, ONE_SEED, UNKNOWN, verdict
from beyondprop.report.records import BACKPROP
from beyondprop.report.text import listing, plural

NAMED = {ABOVE: 6, BELOW: 6}
"""Most rules that are named one by one, by verdict."""
FEWER = 3
"""The same for the other verdicts."""
PAIRS = 6
"""Most pairs that are named one by one."""

Scores = Mapping[str, Mapping[int, float]]
"""A figure by rule and seed."""


@dataclass(frozen=True)
class Found:
    """The results for one figure of a section.

    Attributes:
        measure: The figure.
        scores: The scores by rule and seed.
        pairs: The differences by pair of rules, with p-values after Holm's correction.
        others: The rules that are compared with backprop; empty if backprop has no figure.
    """

    measure: Measure
    scores: Scores
    pairs: Mapping[tuple[str, str], Difference]
    others: tuple[str, ...]

    def grouped(self) -> dict[str, list[str]]:
        """Return the rules by verdict, compared with backprop."""
        made: dict[str, list[str]] = {}
        for rule in self.others:
            made.setdefault(verdict(self.pairs.get((rule, BACKPROP))), []).append(rule)
        return made


def found_of(audit: Audit, section: Asked) -> list[Found]:
    """Return the results for each figure of a section that some run has."""
    made = []
    for measure in measures_of(audit, section):
        scores = {
            rule: own
            for rule in audit.rules
            if (own := figures_of(audit.of(rule), section.name, measure.key))
        }
        if scores:
            others = tuple(rule for rule in scores if rule != BACKPROP)
            made.append(
                Found(measure, scores, _pairs(measure, scores), others * (BACKPROP in scores))
            )
    return _adjusted(made)


def _pairs(measure: Measure, scores: Scores) -> dict[tuple[str, str], Difference]:
    """Return how each rule differs from backprop, or from all others if there is no backprop."""
    wanted = [(rule, BACKPROP) for rule in scores if rule != BACKPROP]
    if BACKPROP not in scores:
        wanted = list(combinations(scores, 2))
    found = {}
    for first, second in wanted:
        seeds = sorted(set(scores[first]) & set(scores[second]))
        one, two = ([scores[rule][seed] for seed in seeds] for rule in (first, second))
        interval = paired(one, two, resolution=measure.resolution)
        if interval is not None:
            apart = [a - b for a, b in zip(one, two, strict=True)]
            p = chance(apart, resolution=measure.resolution)
            found[first, second] = Difference(first, second, interval, p)
    return found


def _adjusted(made: Sequence[Found]) -> list[Found]:
    """Return the same with Holm's correction of p-values over all pairs of all figures."""
    chances = {
        (f"{place}", f"{first}\n{second}"): pair.p
        for place, each in enumerate(made)
        for (first, second), pair in each.pairs.items()
    }
    after = holm(chances)
    return [
        replace(
            each,
            pairs={
                names: replace(pair, p=after[f"{place}", "\n".join(names)])
                for names, pair in each.pairs.items()
            },
        )
        for place, each in enumerate(made)
    ]


def line(audit: Audit, section: Asked) -> str:
    """Return the verdict of a section in one sentence."""
    found = found_of(audit, section)
    if not found:
        return "No run has a figure for this section."
    first, *others = [_one(each) for each in found]
    alone = all(len(own) == 1 for each in found for own in each.scores.values())
    told = [first, *(text[:1].lower() + text[1:] for text in others), *([ONE_SEED] * alone)]
    return "; ".join(told) + "."


def _one(found: Found) -> str:
    """Return the clause on one figure."""
    start = f"{found.measure.title}: "
    if max(len(own) for own in found.scores.values()) == 1:
        return start + _means(found)
    if not found.pairs:
        return f"{start}{_means(found)} {_count(found)}"
    if not found.others:
        return f"{start}{_means(found)}; {_among(found)} {_count(found)}"
    return f"{start}backprop {_mean(found, BACKPROP)}; {_beside(found)} {_count(found)}"


def _count(found: Found) -> str:
    """Return the number of seeds, in parentheses."""
    seeds = sorted({len(own) for own in found.scores.values()})
    return (
        f"({plural(seeds[0], 'seed')})" if len(seeds) == 1 else f"({seeds[0]} to {seeds[-1]} seeds)"
    )


def _means(found: Found) -> str:
    return ", ".join(f"{title(rule)} {_mean(found, rule)}" for rule in found.scores)


def _mean(found: Found, rule: str) -> str:
    """Return a rule's mean and half of its interval over seeds."""
    values, measure = list(found.scores[rule].values()), found.measure
    interval = paired(values, resolution=measure.resolution)
    half = "" if interval is None else f" ± {measure.text(interval.high - interval.value)}"
    return measure.text(fmean(values)) + half


WORDS = {
    ABOVE: "above backprop",
    BELOW: "below backprop",
    ALIKE: "no significant difference",
    UNKNOWN: "not compared",
}
AMONG = {ABOVE: "is above", BELOW: "is below"}
"""The same for sentences that name both rules."""


def _beside(found: Found) -> str:
    """Return how the rules compare with backprop, significant differences first."""
    grouped = found.grouped()
    return "; ".join(
        f"{words}: {_rules(found, key, grouped[key])}"
        for key, words in WORDS.items()
        if key in grouped
    )


def _rules(found: Found, key: str, rules: Sequence[str]) -> str:
    """Return the rules of one verdict with their differences; for many rules, only the range."""
    if len(rules) <= NAMED.get(key, FEWER):
        return listing([f"{title(rule)}{_by(found, (rule, BACKPROP))}" for rule in rules])
    named = listing([title(rule) for rule in rules])
    if len(rules) == len(found.others):
        named = f"all {len(rules)} other rules"
    known = [(rule, BACKPROP) for rule in rules if (rule, BACKPROP) in found.pairs]
    if not known:
        return named
    known.sort(key=lambda pair: found.pairs[pair].interval.value)
    ends = [f"{title(pair[0])}{_by(found, pair)}" for pair in (known[0], known[-1])]
    return f"{named}, from {' to '.join(ends)}"


def _by(found: Found, names: tuple[str, str]) -> str:
    """Return the difference of two rules with half of its interval, in parentheses."""
    if names not in found.pairs:
        return ""
    interval, measure = found.pairs[names].interval, found.measure
    return f" ({measure.signed(interval.value)} ± {measure.text(interval.high - interval.value)})"


def _among(found: Found) -> str:
    """Return which pairs differ significantly if there is no backprop."""
    told = [
        f"{title(first)} {AMONG[words]} {title(second)}{_by(found, (first, second))}"
        for (first, second), pair in found.pairs.items()
        if (words := verdict(pair)) in AMONG
    ]
    if not told:
        return f"no two of the {len(found.scores)} rules differ significantly"
    more = len(told) - PAIRS
    return "significant differences: " + listing(
        [*told[:PAIRS], *([f"{more} more"] if more > 0 else [])]
    )


def apart_from_backprop(audit: Audit) -> Iterator[tuple[Asked, list[str], bool]]:
    """Yield, for each section, the rules that differ significantly from backprop in one of its
    figures, and whether any could.
    """
    for section in audit.sections:
        made = found_of(audit, section)
        rules = [
            rule
            for rule in audit.rules
            if any(rule in each.grouped().get(way, ()) for each in made for way in (ABOVE, BELOW))
        ]
        yield section, rules, any(each.others and each.pairs for each in made)
