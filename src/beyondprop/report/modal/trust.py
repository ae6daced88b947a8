"""The weights that fusions give to modalities: tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from beyondprop.experiment.modal_methods import OURS
from beyondprop.experiment.modaling import SINGLE
from beyondprop.experiment.statistics import Interval, paired
from beyondprop.report.differences import resolution
from beyondprop.report.modal.cells import SHARES, WEIGHTS, averaged, difference
from beyondprop.report.modal.records import JOINT, ModalComparison, Trust, title
from beyondprop.report.table import TableCell

CHOICE_HEADINGS = ("Right on its own", "Minus a random modality")
WEIGHT_HEADINGS = ("Mean weight", "Where right alone", "Where wrong alone", "Right minus wrong")
CHANCE, POSSIBLE = "a random modality", "the best possible choice"
ALWAYS = f"always the {SINGLE}"
CHOICES = (
    "The first choice is the modality with the largest weight. It is right on its own if its"
    " sub-network, trained alone, predicts the class of the test sample. A random modality is the"
    " mean over all modalities, and the best possible choice picks a correct modality whenever one"
    " exists. The next table shows whether the weights follow the sample or one modality always has"
    " the largest."
)


def shown_methods(found: ModalComparison) -> list[str]:
    """Return the methods that figures show: pre-training, and the same without it; if their weights
    are unknown, the first method with known weights.
    """
    known = found.attentive
    return [name for name in (OURS, JOINT) if name in known] or known[:1]


def choices(found: ModalComparison) -> list[tuple[str, tuple[TableCell, ...]]]:
    """Return a line for each method: how often its first choice is right, and by how much that
    exceeds a random modality; the last lines are the reference and the upper limit.

    The list is empty if it is unknown which modality is right.
    """
    known = [
        name for name in found.attentive if any(t.picked is not None for t in found.trusts(name))
    ]
    if not known:
        return []
    step = resolution(found.task)
    lines = [(title(name), _choice(found.trusts(name), step)) for name in known]
    first = found.trusts(known[0])  # sub-networks alone are the same for all methods
    chance, possible = [each.chance for each in first], [each.possible for each in first]
    references = {ALWAYS: _always(found, known[0]), POSSIBLE: possible}
    return [
        *lines,
        (CHANCE, (averaged(chance, SHARES), TableCell(""))),
        *(
            (name, (averaged(of, SHARES), difference(of, chance, SHARES, step)))
            for name, of in references.items()
            if of
        ),
    ]


def _always(found: ModalComparison, method: str) -> list[float | None]:
    """Return how often the best single modality is right, for the seeds with weights of a method;
    empty if scores are not accuracies.
    """
    if found.task.metric != "accuracy" or SINGLE not in found.methods:
        return []
    seeds = [each for each in found.seeds if each.methods[method].trust is not None]
    return [each.methods[SINGLE].score for each in seeds]


def _choice(trusts: Sequence[Trust], step: float) -> tuple[TableCell, TableCell]:
    picked, chance = [each.picked for each in trusts], [each.chance for each in trusts]
    return averaged(picked, SHARES), difference(picked, chance, SHARES, step)


def choice_caption(found: ModalComparison) -> str:
    """Return the caption of the table of first choices, with the test against chance."""
    return f"{_finding(found)}{CHOICES}"


def _finding(found: ModalComparison) -> str:
    """Return whether the first choice of pre-training is right significantly more often than a
    random one; empty for one seed.
    """
    pairs = [
        (each.picked, each.chance)
        for each in found.trusts(OURS)
        if each.picked is not None and each.chance is not None
    ]
    told = paired(
        [picked for picked, _ in pairs],
        [chance for _, chance in pairs],
        resolution=resolution(found.task),
    )
    if told is None:
        return ""
    return f"The first choice of {OURS} {_words(told)} {CHANCE}. "


def _words(told: Interval) -> str:
    if not told.excludes_zero:
        return "is not right significantly more or less often than"
    return f"is right {'more' if told.value > 0 else 'less'} often than"


def weight_headings(found: ModalComparison) -> tuple[str, ...]:
    """Return the headings of the weights: only the mean if it is unknown who is right."""
    return WEIGHT_HEADINGS if choices(found) else WEIGHT_HEADINGS[:1]


def weights(found: ModalComparison) -> list[tuple[str, tuple[TableCell, ...]]]:
    """Return a line for each modality with the weights of the first shown method."""
    columns = len(weight_headings(found))
    return [
        (name, _weights(found.trusts(method), name)[:columns])
        for method in shown_methods(found)[:1]
        for name in found.modalities
    ]


def _weights(trusts: Sequence[Trust], name: str) -> tuple[TableCell, ...]:
    right = [each.where_right[name] for each in trusts]
    wrong = [each.where_wrong[name] for each in trusts]
    return (
        averaged([each.mean[name] for each in trusts], WEIGHTS),
        averaged(right, WEIGHTS),
        averaged(wrong, WEIGHTS),
        difference(right, wrong, WEIGHTS),
    )


def weight_caption(found: ModalComparison) -> str:
    """Return the caption of the table of weights."""
    (method,) = shown_methods(found)[:1]
    told = f"Mean weights that {title(method)} gives in the test samples"
    if not choices(found):
        return f"{told}."
    return (
        f"{told}, in all of them and in those where the modality alone is right or wrong. A cell"
        " without a number has no such samples."
    )
