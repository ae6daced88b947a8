"""The plot of slot machines: score lines, the resulting staircase, and accuracy by K.

    python -m benchmarks.slots.staircase

The left and middle panels are drawn by the library for one weight; the right one is from the
record of `accuracy.py`.
"""

import json
from typing import Any

import torch
from torch import nn

from benchmarks.common.plotting import COLOURS, GREY, open_frame, svg
from benchmarks.common.records import RESULTS
from beyondprop import slots
from beyondprop.slots.staircase import PlainStaircase

RECORD, PLOT = RESULTS / "slots/accuracy-mnist.json", RESULTS / "slots/staircase.svg"
LINE = GREY
FREE, STEP, *_ = COLOURS
LOWER = ("frozen", "K=8, sampled")
"""Methods far below the others, which they would compress to one point; they are in the table."""

PLACE = 3
"""The index of the drawn weight."""


def main() -> None:
    """Write results/slots/staircase.svg."""
    with svg(PLOT, 12, 3.6) as figure:
        left, middle, right = figure.subplots(1, 3)
        reel = slots.convert(nn.Linear(4, 4), 8, seed=3).reels[0]
        at = torch.linspace(-0.12, 0.12, 2001)
        scores_and_weights(left, middle, reel, at)
        accuracies(right, json.loads(RECORD.read_text("utf-8"))["rows"])
        for axes in (left, middle, right):
            open_frame(axes)


def scores_and_weights(left: Any, middle: Any, reel: Any, at: torch.Tensor) -> None:
    """Draw the K scores of one weight over a, and the weight selected by the highest score."""
    place = torch.tensor([PLACE])
    values = reel.source.values_at(place, at).squeeze(1)
    heights = reel.source.scores_at(place, at).squeeze(1)
    lines = heights[:, None] + values[:, None] * at
    for line in lines:
        left.plot(at, line, color=LINE, linewidth=0.8)
    left.plot(at, lines.amax(0), color=STEP, linewidth=2)
    left.set_title("the scores of one weight")
    left.set_ylabel("score")
    weights = torch.zeros(len(at), 1)
    for i, number in enumerate(at):
        every = torch.zeros(reel.source.shape)
        PlainStaircase(reel.source).write(torch.full(reel.source.shape, float(number)), 1.0, every)
        weights[i] = every.view(-1)[PLACE]
    middle.plot(at, weights, color=STEP, linewidth=2)
    middle.plot(at, at, color=FREE, linewidth=0.8, linestyle="--", label="a free weight")
    for value in values:
        middle.axhline(float(value), color=LINE, linewidth=0.5, alpha=0.5)
    middle.legend(frameon=False, loc="center right")
    middle.set_title("its value: that of the highest score")
    middle.set_ylabel("weight")
    for axes in (left, middle):
        axes.set_xlabel("a, which SGD trains")


def accuracies(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Draw the test accuracy of each way, with a dot per seed."""
    shown = [row for row in rows if row["variant"] not in LOWER]
    for y, row in enumerate(reversed(shown)):
        colour = FREE if row["variant"].startswith("learned") else STEP
        axes.plot(
            [100 * a for a in row["seeds"].values()], [y] * len(row["seeds"]), "o", color=colour
        )
    axes.set_yticks(range(len(shown)), [row["variant"] for row in reversed(shown)])
    axes.set_xlabel("test accuracy, %")
    axes.set_title("LeNet-300-100 on MNIST")
    axes.grid(visible=True, axis="x", alpha=0.3)


if __name__ == "__main__":
    main()
