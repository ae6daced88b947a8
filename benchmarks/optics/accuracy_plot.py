"""The plot of accuracy through simulated light, by camera bits, photons, threshold and lifetime.

    python -m benchmarks.optics.accuracy_plot

It reads the record of `accuracy.py`.
"""

import json
from typing import Any

from benchmarks.common.plotting import COLOURS, GREY, open_frame, svg
from benchmarks.common.records import RESULTS

RECORD, PLOT = RESULTS / "optics/accuracy.json", RESULTS / "optics/accuracy.svg"
NAMES = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}
COLOUR_OF = dict(zip(NAMES, COLOURS, strict=False))
CONTROLS = {"backprop": ":", "exact": "-", "frozen": "--"}

PANELS = {
    "bits of the camera": {"camera bits": "-"},
    "photoelectrons a pixel": {"photons per pixel": "-"},
    "threshold / row's rms": {"threshold, one magnitude": "-", "threshold, one a sign": "--"},
    "lifetime of the medium, shots": {"lifetime, shots": "-"},
}
"""The panels: sweeps and their line styles."""

LOGARITHMIC = ("photoelectrons", "lifetime")
BELOW = 0.6
"""The range of a panel below frozen, as a share of backprop's gain over it."""


def main() -> None:
    """Write results/optics/accuracy.svg."""
    rows = json.loads(RECORD.read_text("utf-8"))["rows"]
    with svg(PLOT, 13, 6.4) as figure:
        for axes, data_set in zip(figure.subplots(2, 4, sharey="row"), NAMES, strict=True):
            axes[0].set_ylabel(f"{NAMES[data_set]}, test accuracy, %")
            of_set = [row for row in rows if row["data_set"] == data_set]
            for at, (title, sweeps) in zip(axes, PANELS.items(), strict=True):
                panel(at, title, sweeps, of_set)
        legend(figure)


def panel(axes: Any, title: str, sweeps: dict[str, str], rows: list[dict[str, Any]]) -> None:
    """Draw accuracy over one figure of the device, between the controls."""
    colour = COLOUR_OF[rows[0]["data_set"]]
    control = {row["way"]: row["test"] * 100 for row in rows if row["way"] in CONTROLS}
    span = control["backprop"] - control["frozen"]
    bottom = control["frozen"] - BELOW * span
    axes.set_ylim(bottom, control["backprop"] + 0.1 * span)
    for way, height in control.items():
        axes.axhline(height, color=GREY, linestyle=CONTROLS[way], linewidth=1)
    for sweep, line in sweeps.items():
        found = [(float(row["sweeps"][sweep]), row) for row in rows if sweep in row["sweeps"]]
        points = sorted(found, key=lambda point: point[0])
        for value, row in points:
            if row["test"] * 100 < bottom:
                text = f"{row['test'] * 100:.0f} ↓"
                axes.text(value, bottom, text, ha="center", va="bottom", color=colour)
        axes.errorbar(
            [value for value, _ in points],
            [row["test"] * 100 for _, row in points],
            [row["deviation"] * 100 for _, row in points],
            color=colour,
            linestyle=line,
            marker="o",
            markersize=4,
            capsize=2,
        )
    if title.startswith(LOGARITHMIC):
        axes.set_xscale("log")
    axes.set_xlabel(title)
    open_frame(axes)


def legend(figure: Any) -> None:
    """Add a legend of the lines."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=GREY, linestyle=style, label=name.replace("exact", "exact DFA"))
        for name, style in CONTROLS.items()
    ]
    both = {"one magnitude": "-", "one for each sign": "--"}
    lines += [
        Line2D([], [], color="black", linestyle=style, label=f"threshold: {name}")
        for name, style in both.items()
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=5, frameon=False)


if __name__ == "__main__":
    main()
