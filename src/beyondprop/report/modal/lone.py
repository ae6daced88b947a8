"""The table of single modalities, each trained alone."""

from __future__ import annotations

from beyondprop.experiment.summary import mean
from beyondprop.report.modal.cells import averaged, rates, spanned
from beyondprop.report.modal.methods import share_of
from beyondprop.report.modal.records import ModalComparison
from beyondprop.report.table import TableCell
from beyondprop.report.text import ScoreFormat, duration, percent, plural

CAPTION = (
    "Sub-networks with their own heads, each trained alone before the joint training. The best"
    " epoch has the lowest validation loss, and its weights are kept. Computation is a share of the"
    " budget of a method. A modality has converged when its validation loss has covered 95% of the"
    " way from the untrained network to the best epoch; the computation until then is below it."
    " Time is measured on the machine below and excludes validation."
)
LACKING = (
    "Scores cover all samples; a sample without the modality gets the best constant answer on the"
    " training data. Below each is the score on the test samples that have the modality."
)


def headings(found: ModalComparison) -> list[str]:
    """Return the headings after that of the modality."""
    scores = [f"Test {found.task.metric}", f"Validation {found.task.metric}"]
    rest = ["Best epoch", "Epochs", "Computation", "Learning rate", "Converged after", "Time"]
    return [*scores, *rest]


def lines(found: ModalComparison) -> list[tuple[str, tuple[TableCell, ...]]]:
    """Return a line for each modality."""
    return [(name, _line(found, name)) for name in found.modalities]


def _line(found: ModalComparison, name: str) -> tuple[TableCell, ...]:
    alone = [each.alone[name] for each in found.seeds]
    scores = ScoreFormat.of(found.task)
    shares = [share_of(each, each.alone[name].operations) for each in found.seeds]
    return (
        _score(found, name, scores),
        averaged([each.validation for each in alone], scores),
        spanned([each.best for each in alone], "{:.0f}".format),
        spanned([len(each.losses) for each in alone], "{:.0f}".format),
        spanned(shares, percent),
        rates([each.rate for each in alone], [each.edge for each in alone]),
        _converged(found, name),
        TableCell(duration(mean([each.seconds for each in alone if each.seconds is not None]))),
    )


def _score(found: ModalComparison, name: str, scores: ScoreFormat) -> TableCell:
    """Return the score on all samples, and below it that on the samples with the modality."""
    alone = [each.alone[name] for each in found.seeds]
    cell = averaged([each.score for each in alone], scores)
    if not lacking(found, name):
        return cell
    own = mean([each.own_score for each in alone if each.own_score is not None])
    return TableCell(cell.text, (*cell.small, f"{scores.full(own)} where present"))


def lacking(found: ModalComparison, name: str) -> bool:
    """Whether test samples lack a modality."""
    test = found.task.test
    counts = [each.alone[name].own_samples for each in found.seeds]
    return any(count is not None and count < (test or 0) for count in counts)


def _converged(found: ModalComparison, name: str) -> TableCell:
    """Return the number of epochs until a modality had converged, and their computation."""
    alone = [each.alone[name] for each in found.seeds]
    cell = spanned([each.converged for each in alone], lambda epochs: plural(int(epochs), "epoch"))
    shares = [share_of(each, each.alone[name].converged_operations) for each in found.seeds]
    known = [each for each in shares if each is not None]
    missing = len(alone) - len(known)
    small = [percent(mean(known))] if known else []
    small += [f"{len(known)} of {len(alone)} seeds"] if known and missing else []
    return TableCell(cell.text, tuple(small))


def caption(found: ModalComparison) -> str:
    """Return the caption of the table."""
    told = [CAPTION]
    if len(found.seeds) > 1:
        told.append("Figures are means over seeds, or ranges from the lowest to the highest.")
    if any(lacking(found, name) for name in found.modalities):
        told.append(LACKING)
    if any(each.edge for seed in found.seeds for each in seed.alone.values()):
        told.append("†: the chosen learning rate lies at the edge of those tried.")
    return " ".join(told)
