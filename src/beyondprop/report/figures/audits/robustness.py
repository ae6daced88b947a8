"""Figures of robustness: accuracy against ε, and under common corruptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from beyondprop.report.audited.records import Audit
from beyondprop.report.audited.robustness import Damage, Robustness
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits.rows import LOW, SMALL, in_order, name_of
from beyondprop.report.figures.lines import Curve, curve_of, label_ends
from beyondprop.report.figures.panel import panel
from beyondprop.report.figures.tips import of_rule, tips
from beyondprop.report.labels import text_width
from beyondprop.report.style import INK, Style
from beyondprop.report.svg import inline, plain
from beyondprop.report.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 560, 330
STRONGEST, WITHOUT = "AutoAttack", "Square"
TICKS = [0, 0.25, 0.5, 0.75, 1]


def pictures(audit: Audit, styles: Mapping[str, Style], prefix: str) -> list[Exhibit]:
    """Return the figures of robustness."""
    found = audit.answers(Robustness)
    if not found:
        return []
    made = [_curves(found, styles, prefix)]
    corruptions = _corruptions(found, styles, prefix)
    return [*made, *corruptions]


def _curves(
    found: Mapping[str, Sequence[Robustness]], styles: Mapping[str, Style], prefix: str
) -> Exhibit:
    epsilons = _epsilons(found)
    curves = {
        rule: curve_of([_by_place(each, epsilons) for each in own]) for rule, own in found.items()
    }
    curves = {rule: curve for rule, curve in curves.items() if curve.epochs}
    if not curves:
        return Exhibit("Accuracy against ε", missing="No ε was evaluated for all runs of a rule.")
    names = {rule: name_of(rule) for rule in curves}
    figure, axes = panel(WIDTH, HEIGHT, 26 + max(map(text_width, names.values())))
    for rule, curve in curves.items():
        style, at = styles[rule], [epsilons[i] for i in curve.epochs]
        with of_rule(axes, style):
            axes.fill_between(
                at, curve.low, curve.high, color=style.colour, alpha=0.14, linewidth=0
            )
            axes.plot(
                at, curve.mean, color=style.colour, linestyle=style.line, linewidth=style.width
            )
    for rule, own in found.items():
        with of_rule(axes, styles[rule]):
            _marked(axes, own, styles[rule].colour)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks(TICKS, [f"{100 * tick:g}" for tick in TICKS])
    axes.set_xlim(0, max(epsilons) or 1)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("ε, share of each feature's range")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    label_ends(
        axes,
        {rule: curve.mean[-1] for rule, curve in curves.items()},
        names,
        {rule: styles[rule].colour for rule in curves},
        {rule: styles[rule].key for rule in curves},
    )
    points = [
        tip
        for rule, curve in curves.items()
        for tip in tips(axes, _told(names[rule], curve, epsilons), styles[rule].key)
    ]
    points += [
        tip
        for rule, own in found.items()
        for attack in (WITHOUT, STRONGEST)
        for epsilon, accuracy in _points(own, attack)
        for tip in tips(
            axes, [(epsilon, accuracy, _under(rule, epsilon, accuracy, attack))], styles[rule].key
        )
    ]
    ring = "; a ring marks a rule with masked gradients" * any(
        each.masked for own in found.values() for each in own
    )
    band = " (means over seeds; the band is their range)" * any(map(_several, found.values()))
    caption = (
        "Accuracy on test samples when an attack may change every feature by up to ε: lines are"
        f" PGD with exact gradients{band}, crosses AutoAttack, hollow squares Square, which uses no"
        f" gradients{ring}."
    )
    told = f"Accuracy under PGD by ε; at the largest {in_order(_ends(curves))}"
    drawn = inline(figure, f"{prefix}-curve", told, points)
    return Exhibit("Accuracy against ε", caption, (drawn,), wide=True)


def _told(name: str, curve: Curve, epsilons: Sequence[float]) -> list[tuple[float, float, str]]:
    """Return the points of a rule's curve with their tooltips."""
    return [
        (epsilons[i], mean, _under(name, epsilons[i], mean, "PGD"))
        for i, mean in zip(curve.epochs, curve.mean, strict=True)
    ]


def _under(rule: str, epsilon: float, accuracy: float, attack: str) -> str:
    return f"{name_of(rule)}, ε {epsilon:g}: {100 * accuracy:.1f}% right under {attack}"


def _marked(axes: Axes, own: Sequence[Robustness], colour: str) -> None:
    """Draw the mean accuracy under attacks at one ε, with a ring if gradients are masked."""
    for attack, marker, size, fill in ((WITHOUT, "s", 9, "none"), (STRONGEST, "X", 7, colour)):
        for epsilon, accuracy in _points(own, attack):
            axes.plot(
                [epsilon], [accuracy], marker, color=colour, markersize=size, markerfacecolor=fill,
                markeredgewidth=1.5 if fill == "none" else 0, clip_on=False, zorder=4,
            )  # fmt: skip
    if any(each.masked for each in own):
        for epsilon, accuracy in _points(own, WITHOUT):
            axes.plot(
                [epsilon], [accuracy], "o", color=INK, markerfacecolor="none", markersize=17,
                markeredgewidth=1.4, clip_on=False, zorder=5,
            )  # fmt: skip


def _epsilons(found: Mapping[str, Sequence[Robustness]]) -> list[float]:
    return sorted({epsilon for own in found.values() for each in own for epsilon in each.curve})


def _by_place(found: Robustness, epsilons: Sequence[float]) -> dict[int, float | None]:
    """Return a curve by the indices of its ε."""
    return {epsilons.index(epsilon): accuracy for epsilon, accuracy in found.curve.items()}


def _ends(curves: Mapping[str, Curve]) -> dict[str, float]:
    return {rule: curve.mean[-1] for rule, curve in curves.items()}


def _several(own: Sequence[Robustness]) -> bool:
    return len(own) > 1


def _points(own: Sequence[Robustness], attack: str) -> Iterator[tuple[float, float]]:
    """Yield the mean accuracy under an attack at its ε."""
    epsilons = dict.fromkeys(each.epsilon for each in own if attack in each.attacks)
    for epsilon in epsilons:
        known = [e.attacks[attack] for e in own if e.epsilon == epsilon and attack in e.attacks]
        yield epsilon, fmean(known)


def _corruptions(
    found: Mapping[str, Sequence[Robustness]], styles: Mapping[str, Style], prefix: str
) -> list[Exhibit]:
    kinds: dict[str, Damage] = {}
    for own in found.values():
        for damage in (damage for each in own for damage in each.corruptions):
            kinds.setdefault(damage.name, damage)
    if not kinds:
        return []
    panels = tuple(
        _bars(kind, found, styles, f"{prefix}-corruption-{i}")
        for i, kind in enumerate(kinds.values())
    )
    several = "; bars are means over seeds" * any(map(_several, found.values()))
    caption = (
        "Accuracy on test samples under a corruption, from weak to strong; each bar is a rule, in"
        f" the order and the colours of the table{several}."
    )
    return [Exhibit("Common corruptions", caption, panels, small=True)]


def _bars(
    kind: Damage, found: Mapping[str, Sequence[Robustness]], styles: Mapping[str, Style], name: str
) -> str:
    strengths, told = list(kind.accuracies), []
    tops: list[tuple[str, float, float, str]] = []  # rule, place, height, words
    figure, axes = panel(SMALL, LOW - 20, 8, plain(shorten(kind.name, 34)))
    wide = 0.84 / len(found)
    for place, (rule, own) in enumerate(found.items()):
        heights = [_mean_under(own, kind.name, strength) for strength in strengths]
        at = [i - 0.42 + (place + 0.5) * wide for i in range(len(strengths))]
        with of_rule(axes, styles[rule]):
            axes.bar(at, heights, 0.86 * wide, color=styles[rule].colour)
        told.append(f"{name_of(rule)} {', '.join(f'{100 * height:.0f}%' for height in heights)}")
        tops += [
            (rule, x, y, f"{name_of(rule)}, strength {strength:.2g}: {100 * y:.1f}% right")
            for strength, x, y in zip(strengths, at, heights, strict=True)
        ]
    axes.set_ylim(0, 1)
    axes.set_yticks(TICKS, [f"{100 * tick:g}" for tick in TICKS])
    axes.set_xticks(range(len(strengths)), [f"{strength:.2g}" for strength in strengths])
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(plain(shorten(kind.unit, 46)), fontsize=10)
    points = [
        tip for rule, x, y, words in tops for tip in tips(axes, [(x, y, words)], styles[rule].key)
    ]
    return inline(figure, name, f"Accuracy under {plain(kind.name)}: {'; '.join(told)}", points)


def _mean_under(own: Sequence[Robustness], kind: str, strength: float) -> float:
    known = [
        damage.accuracies[strength]
        for each in own
        for damage in each.corruptions
        if damage.name == kind and strength in damage.accuracies
    ]
    return fmean(known) if known else 0.0
