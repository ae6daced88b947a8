"""The table of single modalities, each trained alone."""

from __future__ import annotations

from beyondprop.report.modal.cells import averaged, rates, spanned
from beyondprop.report.modal.methods import share_of
from beyondprop.report.modal.records import ModalComparison
from beyondprop.report.table import TableCell
from beyondprop.report.text import ScoreFormat, percent

CAPTION = (
    "Sub-networks with heads of their own, before anything joins them. Epochs are passes over the"
    " training data; the best has the least validation loss, and its weights are kept. Computation"
    " is a share of what each method may compute."
)


def headings(found: ModalComparison) -> list[str]:
    """Return the headings behind the modality's."""
    scores = [f"Test {found.task.metric}", f"Validation {found.task.metric}"]
    return [*scores, "Best epoch", "Epochs", "Computation", "Learning rate"]


def lines(found: ModalComparison) -> list[tuple[str, tuple[TableCell, ...]]]:
    """Return a line for each modality."""
    return [(name, _line(found, name)) for name in found.modalities]


def _line(found: ModalComparison, name: str) -> tuple[TableCell, ...]:
    alone = [each.alone[name] for each in found.seeds]
    scores = ScoreFormat.of(found.task)
    shares = [share_of(each, each.alone[name].operations) for each in found.seeds]
    return (
        averaged([each.score for each in alone], scores),
        averaged([each.validation for each in alone], scores),
        spanned([each.best for each in alone], "{:.0f}".format),
        spanned([len(each.losses) for each in alone], "{:.0f}".format),
        spanned(shares, percent),
        rates([each.rate for each in alone], [each.edge for each in alone]),
    )


def caption(found: ModalComparison) -> str:
    """Return what the figures of the table are."""
    told = [CAPTION]
    if len(found.seeds) > 1:
        told.append("Of several seeds means, or from the least to the most.")
    if any(each.edge for seed in found.seeds for each in seed.alone.values()):
        told.append("†: the chosen learning rate lies at an end of those that were tried.")
    return " ".join(told)
