"""The page of a scaling study: losses against size, data, computation and time, with power laws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beyondprop.errors import UserError
from beyondprop.experiment.laws_table import COLUMNS, WORDS, answers, has_law, rows
from beyondprop.experiment.scaling import AXES, SCALING, along
from beyondprop.files import read_json, write_bytes
from beyondprop.registry import label
from beyondprop.report.figures.lines import label_ends
from beyondprop.report.figures.panel import page_style, panel
from beyondprop.report.figures.tips import of_rule, tips
from beyondprop.report.pages import environment
from beyondprop.report.rulebook import known
from beyondprop.report.style import Style, styles
from beyondprop.report.svg import inline
from beyondprop.report.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT, RIGHT = 400, 280, 90


def render_scaling(record: Mapping[str, Any]) -> str:
    """Return the page of a study as the text of a self-contained HTML page.

    Args:
        record: The record that `beyondprop scale` writes as `scaling.json`.

    Raises:
        UserError: The `report` extra is not installed.
    """
    template = environment().get_template("scaling.html.jinja")
    drawn = styles(dict.fromkeys(run["rule"] for run in record["runs"]))
    with page_style():
        panels = [drawing(record, axis, drawn) for axis in AXES if record["laws"][axis]]
    return template.render(
        family=label(record["family"]),
        answers=list(answers(record)),
        panels=[each for each in panels if each is not None],
        tables=[lines(record, axis) for axis in AXES if has_law(record, axis)],
        columns=COLUMNS,
        styles=drawn,
        known=known(drawn),
        runs=record["runs"],
        sizes=len({run["size"] for run in record["runs"]}),
    )


def write_scaling(folder: Path, output: Path) -> Path:
    """Write the page of the study in a folder, and return `output`.

    Raises:
        UserError: The folder contains no study, or the page cannot be written.
    """
    record = read_json(folder / SCALING)
    if record is None:
        raise UserError(f"{folder} holds no {SCALING}; name a folder that `beyondprop scale` wrote")
    write_bytes(output, render_scaling(record).encode("utf-8", errors="replace"))
    return output


def lines(record: Mapping[str, Any], axis: str) -> dict[str, Any]:
    """Return the table of the laws along an axis."""
    return {"title": f"Test loss against {WORDS[axis]}", "rows": rows(record, axis)}


def drawing(record: Mapping[str, Any], axis: str, drawn: Mapping[str, Style]) -> str | None:
    """Return a plot of every run's loss along an axis, with the laws; None for a single value."""
    places = {run[axis] for run in record["runs"] if run[axis]}
    if len(places) < 2:
        return None
    figure, axes = panel(WIDTH, HEIGHT, RIGHT, title="Test loss")
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends: dict[str, float] = {}
    for rule, found in record["laws"][axis].items():
        with of_rule(axes, drawn[rule]):
            ends |= line(axes, record, axis, rule, found, drawn[rule])
    _ticks(axes)
    _places(axes, max(places) / min(places))
    axes.set_xlabel(WORDS[axis])
    names = {rule: shorten(rule, 12) for rule in ends}
    colours = {rule: drawn[rule].colour for rule in ends}
    log_label_ends(axes, ends, names, colours, {rule: drawn[rule].key for rule in ends})
    points = [
        tip
        for rule in record["laws"][axis]
        for tip in tips(axes, _points(record, axis, rule), drawn[rule].key)
    ]
    told = f"Test loss against {WORDS[axis]}, a line a rule: {', '.join(ends)}"
    return inline(figure, f"scale-{axis}", told, points)


def _points(record: Mapping[str, Any], axis: str, rule: str) -> list[tuple[float, float, str]]:
    """Return every run of a rule as a point with its label."""
    return [
        (run[axis], run["loss"], f"{rule}, seed {run['seed']}: loss {run['loss']:.4g}")
        for run in along(record["runs"], rule, axis)
    ]


def line(
    axes: Axes,
    record: Mapping[str, Any],
    axis: str,
    rule: str,
    found: Mapping[str, Any],
    style: Style,
) -> dict[str, float]:
    """Draw one rule's runs and its law; return the last value of the law by rule."""
    own = along(record["runs"], rule, axis)
    axes.plot(
        [run[axis] for run in own],
        [run["loss"] for run in own],
        linestyle="none",
        color=style.colour,
        marker=style.marker,
        ms=4,
        alpha=0.8,
    )
    if "exponent" not in found:
        return {}
    low, high = found["range"]
    at = [found["factor"] * x ** -found["exponent"][0] for x in (low, high)]
    axes.plot([low, high], at, color=style.colour, linewidth=style.width, linestyle=style.line)
    return {rule: at[1]}


def log_label_ends(
    axes: Axes,
    ends: Mapping[str, float],
    names: Mapping[str, str],
    colours: Mapping[str, str],
    keys: Mapping[str, str],
) -> None:
    """Label the lines at their ends, on a logarithmic axis."""
    import math

    low, high = axes.get_ylim()
    twin = axes.twinx()  # the same frame with a linear axis of logarithms
    twin.set_ylim(math.log(low), math.log(high))
    twin.set_yticks([])
    label_ends(twin, {rule: math.log(y) for rule, y in ends.items()}, names, colours, keys)


def _places(axes: Axes, ratio: float) -> None:
    """Set the ticks of the horizontal axis, more densely for a small range."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if ratio > 50 else (1, 3)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: compact(value))


def compact(value: float) -> str:
    """Return a number in a short form: 30, 3k, 40M, 1e+12."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit <= value < 1000 * unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def _ticks(axes: Axes) -> None:
    """Write losses as plain numbers, at most six of them."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
