"""Figures of explanations: their faithfulness, their agreement, and single samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from beyondprop.report.audited.explanations import METHOD, RANDOM, Agreement, Explanations
from beyondprop.report.audited.records import Audit
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits.rows import LOW, SMALL, marks, name_of, rows_panel
from beyondprop.report.figures.audits.samples import samples
from beyondprop.report.figures.panel import panel
from beyondprop.report.figures.tips import thinned, tips
from beyondprop.report.records import BACKPROP
from beyondprop.report.style import Style
from beyondprop.report.svg import inline
from beyondprop.report.text import minus

APART = 0.16
"""Offset of the agreement above the middle of a row, and of that by chance below it."""
KINDS = {"deletion": "hidden", "insertion": "shown"}
"""The curves of faithfulness, and what is done to the regions."""
ORDERS = {METHOD: "by integrated gradients", RANDOM: "at random"}
"""The orders of the regions."""
MOST = 9
"""Most points of a line with tooltips."""


def pictures(audit: Audit, styles: Mapping[str, Style], prefix: str) -> list[Exhibit]:
    """Return the figures of explanations."""
    found, made = audit.answers(Explanations), []
    if found:
        made = [_curves(found, styles, prefix), *samples(audit, styles, prefix)]
    agreed = _agreements(audit)
    return [*made[:1], *([_agreement(agreed, styles, prefix)] if agreed else []), *made[1:]]


def _curves(
    found: Mapping[str, Sequence[Explanations]], styles: Mapping[str, Style], prefix: str
) -> Exhibit:
    panels = tuple(
        _panel(rule, own, styles[rule], f"{prefix}-faithful-{i}")
        for i, (rule, own) in enumerate(found.items())
    )
    several = ", as means over seeds" * any(len(own) > 1 for own in found.values())
    caption = (
        "Mean probability of the model's answer as regions are hidden one after another"
        " (falling) and as they are shown (rising), ordered by integrated gradients (solid) or at"
        f" random (dashed){several}; the tinted area between the two measures how faithful the"
        " explanation is."
    )
    keys = tuple(styles[rule].key for rule in found)
    return Exhibit("Faithfulness of the explanations", caption, panels, small=True, keys=keys)


def _panel(rule: str, own: Sequence[Explanations], style: Style, name: str) -> str:
    figure, axes = panel(SMALL, LOW, 14, name_of(rule, 34))
    told, points = [], []
    for kind, share in KINDS.items():
        lines = {method: _mean(own, method, kind) for method in (METHOD, RANDOM)}
        at = {method: _steps(len(line)) for method, line in lines.items()}
        axes.plot(at[METHOD], lines[METHOD], color=style.colour, linewidth=1.8)
        axes.plot(
            at[RANDOM], lines[RANDOM], color=style.colour, linewidth=1.2, linestyle=(0, (3, 1.6))
        )
        if len(lines[METHOD]) == len(lines[RANDOM]):
            axes.fill_between(
                at[METHOD],
                lines[METHOD],
                lines[RANDOM],
                color=style.colour,
                alpha=0.13,
                linewidth=0,
            )
        told.append(f"{kind} {fmean(lines[METHOD]):.2f}, at random {fmean(lines[RANDOM]):.2f}")
        points += [
            (x, y, f"{name_of(rule)}, {100 * x:.0f}% {share} {ORDERS[method]}: probability {y:.2f}")
            for method, line in lines.items()
            for x, y in thinned(list(zip(at[method], line, strict=True)), MOST)
        ]
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_xlabel("hidden or shown, %")
    label = f"Mean probability of {name_of(rule)}: {'; '.join(told)}"
    return inline(figure, name, label, tips(axes, points, style.key))


def _mean(own: Sequence[Explanations], method: str, kind: str) -> list[float]:
    """Return the mean curve over seeds that have as many steps as the first."""
    curves = [each.curves[method][kind] for each in own]
    alike = [each for each in curves if len(each) == len(curves[0])]
    return [fmean(values) for values in zip(*alike, strict=True)]


def _steps(size: int) -> list[float]:
    return [i / max(size - 1, 1) for i in range(size)]


def _agreements(audit: Audit) -> dict[str, list[Agreement]]:
    """Return the agreement of each rule with backprop by seed, and of two seeds of backprop."""
    found: dict[str, list[Agreement]] = {}
    for pair, each in audit.pairs(Agreement):
        rules = (pair.first.rule, pair.second.rule)
        if rules == (BACKPROP, BACKPROP):
            found.setdefault(TWO_SEEDS, []).append(each)
        elif rules[1] == BACKPROP:
            found.setdefault(rules[0], []).append(each)
    return found


TWO_SEEDS = "backprop, 2 seeds"


def _agreement(
    found: Mapping[str, Sequence[Agreement]], styles: Mapping[str, Style], prefix: str
) -> Exhibit:
    drawn = {**styles, **({TWO_SEEDS: styles[BACKPROP]} if BACKPROP in styles else {})}
    figure, axes, places = rows_panel(list(found), drawn)
    told: dict[str, str] = {}
    ends: list[tuple[str, float, float]] = []  # rule, place, mean
    for rule, own in found.items():
        same = [each.same.value for each in own if each.same.value is not None]
        chance = [each.chance.value for each in own if each.chance.value is not None]
        marks(axes, same, places[rule] + APART, drawn[rule])
        marks(axes, chance, places[rule] - APART, drawn[rule], filled=False)
        if same and chance:
            told[rule] = f"{name_of(rule)} {fmean(same):.2f}, different samples {fmean(chance):.2f}"
            ends += [(rule, places[rule] + APART, fmean(same))]
            ends += [(rule, places[rule] - APART, fmean(chance))]
    axes.xaxis.set_major_formatter(lambda value, _: minus(f"{value:.2g}"))
    axes.set_xlabel("rank correlation")
    small = "; small points are single seeds" * any(len(own) > 1 for own in found.values())
    last = "; the last line compares two seeds of backprop" * (TWO_SEEDS in found)
    caption = (
        "Rank correlation between the integrated gradients of a rule and of backprop with the same"
        " seed: of the same samples (filled) and, for comparison, of different samples (hollow)"
        f"{small}{last}."
    )
    text = f"Agreement with backprop: {'; '.join(told.values())}"
    points = [
        tip for rule, y, x in ends for tip in tips(axes, [(x, y, told[rule])], drawn[rule].key)
    ]
    shown = inline(figure, f"{prefix}-agree", text, points)
    return Exhibit("Agreement with backprop", caption, (shown,))
