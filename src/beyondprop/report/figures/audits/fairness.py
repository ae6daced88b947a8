"""Figures of fairness: the rates of each group by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from beyondprop.experiment.statistics import paired
from beyondprop.report.audited.fairness import RATES, Attribute, Fairness
from beyondprop.report.audited.records import Audit
from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.audits.rows import name_of
from beyondprop.report.figures.panel import MARGIN_BOTTOM, MARGIN_TOP, panel
from beyondprop.report.figures.tips import of_rule, tips
from beyondprop.report.labels import text_width
from beyondprop.report.style import LINE, MUTED, Style
from beyondprop.report.svg import inline, plain
from beyondprop.report.text import capital, shorten

WIDTH, ROW, LEAST = 400, 9, 26
"""Width of a panel, height per rule of a group, and smallest height of a group."""
LONGEST = 20


def pictures(audit: Audit, styles: Mapping[str, Style], prefix: str) -> list[Exhibit]:
    """Return the figures of fairness: for each attribute, one panel per rate."""
    found = audit.answers(Fairness)
    names = dict.fromkeys(n for own in found.values() for each in own for n in each.attributes)
    made = []
    for place, name in enumerate(names):
        of = {
            rule: known
            for rule, own in found.items()
            if (known := [each.attributes[name] for each in own if name in each.attributes])
        }
        favourable = next(each.favourable for own in found.values() for each in own)
        made.append(_attribute(name, favourable, of, styles, f"{prefix}-{place}"))
    return made


def _attribute(
    name: str,
    favourable: str,
    found: Mapping[str, Sequence[Attribute]],
    styles: Mapping[str, Style],
    prefix: str,
) -> Exhibit:
    title = capital(f"groups by {name}")
    groups = list(dict.fromkeys(g for own in found.values() for each in own for g in each.counted))
    if not groups:
        return Exhibit(title, missing=f"By {name}, no group has enough test samples to compare.")
    panels = tuple(
        _panel(rate, heading, groups, found, styles, f"{prefix}-{rate.replace('_', '-')}")
        for rate, heading in RATES.items()
    )
    several = any(len(own) > 1 for own in found.values())
    over = "seeds (Student's t)" if several else "test samples"
    left = dict.fromkeys(g for own in found.values() for each in own for g in each.left_out)
    without = f"; too small to compare: {', '.join(left)}" * bool(left)
    caption = (
        f"Percent of each group's test samples that a model classifies as {favourable!r} (of all,"
        " of those that truly are and of those that are not), and percent that it classifies"
        " correctly; each point is a rule, in the order and the colours of the table, with its 95%"
        f" interval over {over}{without}."
    )
    return Exhibit(title, caption, panels)


def _panel(
    rate: str,
    heading: str,
    groups: Sequence[str],
    found: Mapping[str, Sequence[Attribute]],
    styles: Mapping[str, Style],
    name: str,
) -> str:
    room = max(ROW * len(found), LEAST)
    names = {group: plain(shorten(group, LONGEST)) for group in groups}
    right = 20 + max(map(text_width, names.values()))
    height = MARGIN_TOP + MARGIN_BOTTOM + (room + 8) * len(groups)
    figure, axes = panel(WIDTH, height, right, capital(heading))
    told: list[tuple[str, float, float, str]] = []  # rule, place, value, words
    for row, group in enumerate(groups):
        middle = len(groups) - 1.0 - row
        if row:
            axes.axhline(middle + 0.5, color=LINE, linewidth=0.8)
        axes.text(
            1.02,
            middle,
            names[group],
            transform=axes.get_yaxis_transform(),
            color=MUTED,
            va="center",
        )
        for place, (rule, own) in enumerate(found.items()):
            y = middle + 0.36 - 0.72 * (place + 0.5) / len(found)
            spread = _rate(own, group, rate)
            if spread is None:
                continue
            value, low, high = spread
            ends, colour = [max(low, 0), min(high, 1)], styles[rule].colour
            with of_rule(axes, styles[rule]):
                axes.plot(ends, [y, y], color=colour, linewidth=1.6, alpha=0.6)
                axes.plot([value], [y], "o", color=colour, markersize=5)
            told.append((rule, y, value, f"{names[group]} by {name_of(rule)} {100 * value:.1f}%"))
    axes.set_ylim(-0.5, len(groups) - 0.5)
    axes.set_yticks([])
    axes.grid(visible=True, axis="x")
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}")
    axes.set_xlabel("percent")
    points = [
        tip for rule, y, x, words in told for tip in tips(axes, [(x, y, words)], styles[rule].key)
    ]
    label = f"Share {heading}: {', '.join(words for *_, words in told)}"
    return inline(figure, name, label, points)


def _rate(own: Sequence[Attribute], group: str, rate: str) -> tuple[float, float, float] | None:
    """Return a group's mean rate over seeds with its interval; for one seed, that over samples."""
    known = [
        each
        for attribute in own
        for each in attribute.groups
        if each.name == group and rate in each.rates
    ]
    if not known:
        return None
    values = [each.rates[rate] for each in known]
    interval = paired(values)
    if interval is not None:
        return interval.value, interval.low, interval.high
    low, high = known[0].intervals.get(rate, (values[0], values[0]))
    return fmean(values), low, high
