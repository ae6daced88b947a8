"""Figures of forgetting: rules between floor and ceiling, and the matrix of each rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from beyondprop.report.audited.forgetting import Forgetting
from beyondprop.report.audited.records import Audit
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits.rows import LOW, SMALL, heat, marks, name_of, rows_panel
from beyondprop.report.figures.panel import panel
from beyondprop.report.figures.tips import of_rule, tips
from beyondprop.report.style import INK, MUTED, Style
from beyondprop.report.svg import inline
from beyondprop.report.text import ScoreFormat

CELLS = 8
"""Most experiences with scores written in the cells."""


def pictures(audit: Audit, styles: Mapping[str, Style], prefix: str) -> list[Exhibit]:
    """Return the figures of forgetting."""
    found = {rule: alike(each) for rule, each in audit.answers(Forgetting).items()}
    if not found:
        return []
    return [_kept(audit, found, styles, prefix), _matrices(audit, found, styles, prefix)]


def alike(answers: Sequence[Forgetting]) -> list[Forgetting]:
    """Return the results with the same experiences as the first."""
    return [each for each in answers if each.experiences == answers[0].experiences]


def _kept(
    audit: Audit,
    found: Mapping[str, Sequence[Forgetting]],
    styles: Mapping[str, Style],
    prefix: str,
) -> Exhibit:
    scores = ScoreFormat.of(audit.task)
    figure, axes, places = rows_panel(list(found), styles)
    told: dict[str, tuple[float, str]] = {}
    for rule, answers in found.items():
        y = places[rule]
        floor, ceiling, kept = (
            fmean(getattr(each, name) for each in answers)
            for name in ("floor", "ceiling", "average")
        )
        with of_rule(axes, styles[rule]):
            axes.plot([floor, ceiling], [y, y], color=MUTED, linewidth=1)
            axes.plot([floor], [y], "|", color=MUTED, markersize=13, markeredgewidth=2)
            axes.plot([ceiling], [y], "|", color=INK, markersize=13, markeredgewidth=2)
        marks(axes, [each.average for each in answers], y, styles[rule])
        between = f"{scores.full(floor)} and {scores.full(ceiling)}"
        told[rule] = kept, f"{name_of(rule)} {scores.full(kept)} between {between}"
    factor = 100 if scores.percent else 1
    axes.xaxis.set_major_formatter(lambda value, _: f"{value * factor:.4g}")
    axes.set_xlabel(f"{scores.metric}{', %' * scores.percent}")
    small = "; small points are single seeds" * any(len(each) > 1 for each in found.values())
    caption = (
        "Score on all experiences at the end (point); the bar begins at the floor, the score of a"
        " model that knows only the last experience, and ends at the ceiling, the score of the same"
        f" rule when it learns all experiences at once{small}."
    )
    points = [
        tip
        for rule, (kept, words) in told.items()
        for tip in tips(axes, [(kept, places[rule], words)], styles[rule].key)
    ]
    label = f"Kept at the end: {'; '.join(words for _, words in told.values())}"
    drawn = inline(figure, f"{prefix}-kept", label, points)
    return Exhibit("Between floor and ceiling", caption, (drawn,))


def _matrices(
    audit: Audit,
    found: Mapping[str, Sequence[Forgetting]],
    styles: Mapping[str, Style],
    prefix: str,
) -> Exhibit:
    panels = tuple(
        _matrix(audit, rule, answers, styles[rule].key, f"{prefix}-matrix-{i}")
        for i, (rule, answers) in enumerate(found.items())
    )
    names = next(iter(found.values()))[0].experiences
    numbered = [(i, name) for i, name in enumerate(names, 1) if name != f"order {i}"]
    listed = "; ".join(f"{i} is {name}" for i, name in numbered)
    legend = f" ({listed})" if listed else ""
    several = " (means over seeds)" * any(len(each) > 1 for each in found.values())
    caption = (
        "Each row is the state after one more experience, each column the score on an experience"
        f"{several}; a rule that forgets nothing is dark from the diagonal down to the last row"
        f"{legend}."
    )
    keys = tuple(styles[rule].key for rule in found)
    return Exhibit("Scores after each experience", caption, panels, small=True, keys=keys)


def _matrix(audit: Audit, rule: str, answers: Sequence[Forgetting], key: str, name: str) -> str:
    scores, size = ScoreFormat.of(audit.task), len(answers[0].experiences)
    means = [
        [_mean([each.rows[i][j] for each in answers]) for j in range(size)] for i in range(size)
    ]
    most = (
        1.0
        if scores.percent
        else max((abs(v) for row in means for v in row if v is not None), default=1.0)
    )
    figure, axes = panel(SMALL, LOW + 20, 12, name_of(rule, 34))
    heat(axes, [[0.75 * (v or 0.0) / (most or 1.0) for v in row] for row in means])
    axes.set_xticks(range(size), [str(i + 1) for i in range(size)])
    axes.set_yticks(range(size), [str(i + 1) for i in range(size)])
    floor, ceiling, kept = (
        scores.full(fmean(getattr(each, key) for each in answers))
        for key in ("floor", "ceiling", "average")
    )
    axes.set_xlabel(f"kept {kept}, floor {floor}, ceiling {ceiling}")
    axes.set_ylabel("after")
    if size <= CELLS:
        for i, row in enumerate(means):
            for j, value in enumerate(row):
                text = (
                    ""
                    if value is None
                    else f"{100 * value:.0f}"
                    if scores.percent
                    else f"{value:.2f}"
                )
                axes.text(j, i, text, ha="center", va="center", color=INK, fontsize=11)
    last = ", ".join(scores.full(value) for value in means[-1])
    label = f"Scores of {name_of(rule)} after each experience; at the end {last}"
    points = [
        (j, i, f"{name_of(rule)}, after {i + 1}: {scores.full(value)} of {j + 1}")
        for i, row in enumerate(means)
        for j, value in enumerate(row)
        if value is not None
    ]
    return inline(figure, name, label, tips(axes, points, key))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
