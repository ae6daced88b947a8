"""The verdict of a section over all rules: one sentence, made from its figures.

Rules are paired with backprop by seed. A difference is told where Student's test of pairs tells it
from none, after Holm over all rules and figures of the section, and its interval leaves out zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

from beyondprop.experiment.statistics import Difference, chance, holm, paired
from beyondprop.report.audited.measures import Measure, measures_of
from beyondprop.report.audited.records import Asked, Audit, figures_of
from beyondprop.report.differences import ABOVE, ALIKE, BELOW, UNKNOWN, verdict
from beyondprop.report.records import BACKPROP
from beyondprop.report.text import label, listing, plural

NAMED = 7
"""Rules or pairs of one verdict that are named one by one."""
ONE_SEED = "one seed tells nothing apart"

Scores = Mapping[str, Mapping[int, float]]
"""For each rule that has one a figure by seed."""


@dataclass(frozen=True)
class Found:
    """What is known of one figure of a section.

    Attributes:
        measure: The figure.
        scores: Of each rule.
        pairs: How rules differ, by their names; p-values are after Holm.
        others: The rules that stand beside backprop; none where that has no figure.
    """

    measure: Measure
    scores: Scores
    pairs: Mapping[tuple[str, str], Difference]
    others: tuple[str, ...]

    def grouped(self) -> dict[str, list[str]]:
        """Return the rules of each verdict, beside backprop."""
        made: dict[str, list[str]] = {}
        for rule in self.others:
            made.setdefault(verdict(self.pairs.get((rule, BACKPROP))), []).append(rule)
        return made


def found_of(audit: Audit, section: Asked) -> list[Found]:
    """Return what is known of each figure of a section that some run has."""
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
    """Return how each rule differs from backprop, or from every other where that is not there."""
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
    """Return the same with p-values after Holm, over all pairs of all figures."""
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
    made = [_one(each) for each in found_of(audit, section)]
    if not made:
        return "No run has a figure of it."
    return "; ".join([made[0], *(text[:1].lower() + text[1:] for text in made[1:])]) + "."


def _one(found: Found) -> str:
    """Return what is known of one figure."""
    seeds = {len(own) for own in found.scores.values()}
    if not found.pairs or max(seeds) == 1:
        apart = f"; {ONE_SEED}" if max(seeds) == 1 else ""
        return f"{found.measure.title}: {_means(found)}{_seeds(found, apart)}{apart}"
    if not found.others:
        return f"{found.measure.title}: {_means(found)}; {_among(found)} {_count(found)}"
    base = _mean(found, BACKPROP)
    return f"{found.measure.title}: backprop {base}; {_beside(found)} {_count(found)}"


def _seeds(found: Found, apart: str) -> str:
    return "" if apart else f" {_count(found)}"


def _count(found: Found) -> str:
    """Return how many seeds there are, in brackets."""
    seeds = sorted({len(own) for own in found.scores.values()})
    return (
        f"({plural(seeds[0], 'seed')})" if len(seeds) == 1 else f"({seeds[0]} to {seeds[-1]} seeds)"
    )


def _means(found: Found) -> str:
    return ", ".join(f"{label(rule)} {_mean(found, rule)}" for rule in found.scores)


def _mean(found: Found, rule: str) -> str:
    """Return a rule's mean and half of its interval over seeds."""
    values, measure = list(found.scores[rule].values()), found.measure
    interval = paired(values, resolution=measure.resolution)
    half = "" if interval is None else f" ± {measure.bare(interval.high - interval.value)}"
    return measure.full(fmean(values)) + half


def _beside(found: Found) -> str:
    """Return where the rules stand beside backprop, those that are told apart first."""
    grouped = found.grouped()
    if set(grouped) == {ALIKE} and len(grouped[ALIKE]) > NAMED:
        return f"not told apart from it: any of {len(grouped[ALIKE])} other rules"
    words = {ABOVE: "above it", BELOW: "below it", ALIKE: "not told apart from it"}
    words[UNKNOWN] = "not compared with it"
    told = [f"{words[key]}: {_rules(found, grouped[key])}" for key in words if key in grouped]
    return "; ".join(told)


def _rules(found: Found, rules: Sequence[str]) -> str:
    shown = [f"{label(rule)}{_by(found, (rule, BACKPROP))}" for rule in rules[:NAMED]]
    more = len(rules) - NAMED
    return listing([*shown, *([plural(more, "other")] if more > 0 else [])])


def _by(found: Found, names: tuple[str, str]) -> str:
    """Return by how much two differ, with half of the interval, in brackets."""
    if names not in found.pairs:
        return ""
    interval, measure = found.pairs[names].interval, found.measure
    return f" ({measure.signed(interval.value)} ± {measure.bare(interval.high - interval.value)})"


def _among(found: Found) -> str:
    """Return which pairs are told apart where backprop is not there."""
    told = [
        f"{label(first)} {verdict(pair)} {label(second)}{_by(found, (first, second))}"
        for (first, second), pair in found.pairs.items()
        if verdict(pair) != ALIKE
    ]
    if not told:
        return f"no two of the {len(found.scores)} rules are told apart"
    more = len(told) - NAMED
    return "told apart: " + listing([*told[:NAMED], *([f"{more} more"] if more > 0 else [])])


def apart_from_backprop(audit: Audit) -> Iterator[tuple[Asked, list[str], bool]]:
    """Yield of each section the rules that are told apart from backprop by one of its figures, and
    whether any could be.
    """
    for section in audit.sections:
        made = found_of(audit, section)
        rules = [
            rule
            for rule in audit.rules
            if any(rule in each.grouped().get(way, ()) for each in made for way in (ABOVE, BELOW))
        ]
        yield section, rules, any(each.others and each.pairs for each in made)
