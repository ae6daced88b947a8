"""The simulated photonic co-processor compared with theory, for each noise alone.

    python -m benchmarks.optics.theory

Errors are root mean squares of the recovered fields' real parts, relative to these parts; all in
float64, with half of the mirrors on in each frame. A ratio of 1 means that the simulator agrees
with the formula; elsewhere, the formula's assumptions do not hold (see the notes).
"""

import math
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from benchmarks.optics import theory_plot as plot
from benchmarks.optics.theory_points import KINDS, Point, points
from beyondprop.jobs.progress import bar, bars

NOTES = (
    "Measured: the mean over seeds; spread: the largest minus the smallest. At: photoelectrons a "
    "pixel; bits, with a full well of 40 times the photons; read noise in electrons; full well in "
    "units of the mean intensity; instability, share of the power; hot pixels, their share; phase "
    "noise in radians; drift, lifetimes. All figures are errors relative to the field, except "
    "shares, slopes and drift, which is a correlation.",
    "Bits: rounding adds the variance of even steps, step²/12, as long as steps are finer than "
    "the speckle; with four bits they are 2.7 times its mean. Clipped: the share of an exponential "
    "distribution without a reference, of a noncentral χ² distribution with one; shares below "
    "1/1000 rest on few pixels (see the spread). Hot pixels: phase shifting finds 0 there. Slope: "
    "log error over log photons.",
)


def main(
    repeats: int = 3,
    threads: int | None = None,
    output: Path = Path("results/optics/theory.json"),
) -> None:
    """Compare the simulator with theory.

    Args:
        repeats: The number of seeds, from 0, for other media, frames and noise.
        threads: CPU threads. Default: PyTorch's.
        output: The file of the record; the table and the plot are written next to it.
    """
    started = datetime.now(UTC)
    used = set_threads(threads)
    every = points()
    rows = []
    with bars() as progress, bar(progress, "theory", len(every)) as shown:
        for point in every:
            rows.append(row(point, range(repeats)))
            progress.advance(shown)
    rows += slopes(rows)
    plot.draw(rows, output.with_suffix(".svg"))
    spec = {"repeats": repeats, "threads": used}
    save("optics/theory", spec, rows, table(rows), started, output)


def row(point: Point, seeds: range) -> dict[str, Any]:
    """Return a point's figures."""
    measured, by_theory = zip(*map(point.compare, seeds), strict=True)
    mean, expected = statistics.mean(measured), statistics.mean(by_theory)
    figures = {"part": point.part, "way": point.way, "at": point.at}
    figures |= {"measured": mean, "each": measured, "theory": expected}
    return figures | {"ratio": mean / expected}


def slopes(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the slopes of the logarithm of errors over that of photons."""
    for way in KINDS:
        own = [row for row in rows if (row["part"], row["way"]) == ("photons", way)]
        x = [math.log(row["at"]) for row in own]
        each = [
            statistics.linear_regression(x, [math.log(row["each"][i]) for row in own]).slope
            for i in range(len(own[0]["each"]))
        ]
        slope = statistics.mean(each)
        figures = {"part": "slope", "way": way, "at": None, "measured": slope, "each": each}
        yield figures | {"theory": -0.5, "ratio": slope / -0.5}


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        title="The simulated photonic co-processor against theory",
        columns=("part", "way", "at", "measured", "spread", "theory", "measured / theory"),
        rows=[
            (
                row["part"],
                row["way"],
                "–" if row["at"] is None else f"{row['at']:g}",
                f"{row['measured']:.4g}",
                f"{max(row['each']) - min(row['each']):.1g}",
                f"{row['theory']:.4g}",
                f"{row['ratio']:.3f}",
            )
            for row in rows
        ],
        notes=NOTES,
    )


if __name__ == "__main__":
    command_line(main)
