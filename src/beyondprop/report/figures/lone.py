"""Learning curves of single modalities: the speed at which each converges alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beyondprop.report.figures import Exhibit
from beyondprop.report.figures.panel import epoch_axis, panel
from beyondprop.report.figures.tips import thinned, tips
from beyondprop.report.modal.records import Alone, ModalComparison
from beyondprop.report.style import Style
from beyondprop.report.svg import inline, plain
from beyondprop.report.text import minus, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "How fast each modality learns alone"
WIDTH, HEIGHT, RIGHT = 300, 220, 14
MOST = 12
"""Most points of a line with tooltips."""
LONGEST = 24
"""Most characters of a modality's name."""
STEEP = 5
"""The ratio of the largest to the smallest loss above which the axis is logarithmic."""
MARGIN = 0.06
"""Part of the axis beyond the losses at both ends."""


@dataclass(frozen=True)
class Scale:
    """The common scale of all panels.

    Attributes:
        low: The lowest loss.
        high: The highest loss.
        last: The last epoch.
    """

    low: float
    high: float
    last: int

    @property
    def steep(self) -> bool:
        """Whether the axis of losses is logarithmic."""
        return self.low > 0 and self.high / self.low > STEEP

    def put_on(self, axes: Axes) -> None:
        """Set the limits of axes to this scale."""
        epoch_axis(axes, 1, self.last)
        if self.steep:
            wide = (self.high / self.low) ** MARGIN
            axes.set_ylim(self.low / wide, self.high * wide)
            axes.set_yscale("log")
            _few_ticks(axes, self.high / self.low)
        else:
            wide = MARGIN * (self.high - self.low) or 0.1 * abs(self.high) or 1.0
            axes.set_ylim(self.low - wide, self.high + wide)
        axes.yaxis.set_major_formatter(lambda value, _: minus(f"{value:.3g}"))


def losses(found: ModalComparison, styles: Mapping[str, Style], prefix: str) -> Exhibit:
    """Return the validation loss of each modality by epoch: a panel per modality, a line per seed,
    all on the same axes.
    """
    every = [each for seed in found.seeds for each in seed.alone.values()]
    known = [loss for each in every for loss in each.losses if loss is not None]
    if not known:
        return Exhibit(TITLE, missing="No validation loss of a single modality is recorded.")
    scale = Scale(min(known), max(known), max(len(each.losses) for each in every))
    panels = [
        _panel(found, name, styles[name], scale, f"{prefix}-alone-{i}")
        for i, name in enumerate(found.modalities)
    ]
    axes = "axes, with a logarithmic loss" if scale.steep else "axes"
    several = "; each line is a seed" * (len(found.seeds) > 1)
    caption = (
        "Validation loss of each modality's sub-network after each epoch of its training alone, on"
        f" the same {axes}; a circle marks the best epoch, whose weights are kept{several}."
    )
    return Exhibit(TITLE, caption, tuple(panels), small=True)


def _panel(found: ModalComparison, modality: str, style: Style, scale: Scale, name: str) -> str:
    curves = [each.alone[modality] for each in found.seeds]
    figure, axes = panel(WIDTH, HEIGHT, RIGHT, shorten(modality, LONGEST))
    for each in curves:
        known = [math.nan if loss is None else loss for loss in each.losses]
        epochs = range(1, len(known) + 1)
        axes.plot(epochs, known, color=style.colour, linewidth=1.2, alpha=0.75, clip_on=False)
        best = known[each.best - 1]
        axes.plot(each.best, best, "o", color=style.colour, markersize=6, clip_on=False)
    scale.put_on(axes)
    told = f"Validation loss of {plain(modality)} alone by epoch; best {_told(curves)}"
    points = [
        (epoch, loss, f"{plain(modality)}, seed {each.seed}, epoch {epoch}: loss {loss:.3g}")
        for each in found.seeds
        for epoch, loss in thinned(list(enumerate(each.alone[modality].losses, 1)), MOST)
        if loss is not None
    ]
    return inline(figure, name, told, tips(axes, points))


def _told(curves: Sequence[Alone]) -> str:
    """Return the best epoch of each seed and its loss."""
    told = []
    for each in curves:
        loss = each.losses[each.best - 1]
        told.append(f"epoch {each.best}" + ("" if loss is None else f" at {loss:.3g}"))
    return ", ".join(told)


def _few_ticks(axes: Axes, ratio: float) -> None:
    """Set few ticks with plain numbers on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if ratio > 200 else (1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
