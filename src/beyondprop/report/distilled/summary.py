"""The sentences under the headline of a distillation."""

from __future__ import annotations

from collections.abc import Iterator

from beyondprop.experiment.summary import interval, mean
from beyondprop.report.differences import alike, apart, few_seeds, named, over, tested, uncompared
from beyondprop.report.distilled.findings import findings
from beyondprop.report.distilled.records import Distillation
from beyondprop.report.text import ScoreFormat, by_reason, capital, count, share


def summary(found: Distillation) -> list[str]:
    """Return the sentences under the headline: the teacher, the differences, the failures."""
    return [_teacher(found), *told_apart(found), *failures(found), *few_seeds(len(found.seeds))]


def _teacher(found: Distillation) -> str:
    task, scores = found.task, ScoreFormat.of(found.task)
    known = [each.score for each in found.seeds if each.score is not None]
    spread = interval(known)
    reached = scores.full(mean(known))
    if spread is not None:
        reached += f" ± {scores.bare((spread[1] - spread[0]) / 2)}"
    on = f"On {task.data or task.name}" + f" ({count(task.test)} test examples)" * bool(task.test)
    several = " (mean over seeds; each seed has its own teacher and students)"
    return f"{on} the teacher reaches {reached} test {scores.metric}{several * (len(known) > 1)}."


def told_apart(found: Distillation) -> Iterator[str]:
    """Yield sentences on the differences of each budget's healed networks; none for one seed."""
    scores, first = ScoreFormat.of(found.task), True
    for each in findings(found):
        if not each.differences:
            continue
        real = [one for one in each.differences if apart(one)]
        others = [one for one in each.differences if one not in real]
        by = f" ({tested(len(each.differences))})" * first
        told = f"Within {share(each.budget)}, significant differences{by}: "
        told += f"{named(real, scores, over) or 'none'}."
        told += f" No significant difference: {named(others, scores, alike)}." * bool(others)
        left = f" {uncompared(each.unpaired)}"
        yield told + left * bool(each.unpaired)
        first = False


def failures(found: Distillation) -> Iterator[str]:
    """Yield why there is no assembly within a budget, and why a method has no result."""
    for place, budget in enumerate(found.budgets):
        at = {each.seed: each.assemblies[place] for each in found.seeds}
        reasons = {seed: each.failed for seed, each in at.items() if each.failed}
        for reason, seeds in by_reason(reasons):
            yield f"Within {share(budget)}, no assembly with {seeds}: {reason}."
        for way, name in found.ways.items():
            reasons = {
                seed: each.ways[way].failed
                for seed, each in at.items()
                if way in each.ways and each.ways[way].failed
            }
            for reason, seeds in by_reason(reasons):
                yield f"{capital(name)} failed within {share(budget)} with {seeds}: {reason}."
