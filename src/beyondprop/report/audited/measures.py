"""The main figures of a section: their names, their formats and their comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from beyondprop.measure import Column
from beyondprop.report.audited import fairness
from beyondprop.report.audited.explanations import METHOD
from beyondprop.report.audited.fairness import PARITY, Fairness, key_of
from beyondprop.report.audited.records import Asked, Audit
from beyondprop.report.audited.robustness import Robustness
from beyondprop.report.differences import resolution
from beyondprop.report.text import capital, minus


@dataclass(frozen=True)
class Measure:
    """A figure of runs.

    Attributes:
        title: The start of a sentence on it.
        key: The key of the figure.
        form: The Python format of the figure.
        resolution: The smallest possible difference, as in `paired`.
    """

    title: str
    key: str
    form: str = ".3f"
    resolution: float = 0.0

    def text(self, value: float) -> str:
        """Return a figure, or a difference, as text for tables."""
        return minus(f"{value:{self.form}}")

    def signed(self, value: float) -> str:
        """Return a difference with its sign; a rounded zero has no sign."""
        text = self.text(value)
        return f"+{text}" if value > 0 and any(digit in text for digit in "123456789") else text


def measures_of(audit: Audit, section: Asked) -> list[Measure]:
    """Return the main figures of a section: one or two, or one per attribute for fairness; for a
    section that is unknown here, its first column.
    """
    if section.name in KNOWN:
        return KNOWN[section.name](audit)
    return [_of_column(column) for column in section.columns[:1]]


def _forgetting(audit: Audit) -> list[Measure]:
    title = "Forgetting at the end (lower is better)"
    return [Measure(title, "forgetting", resolution=resolution(audit.task))]


def _robustness(audit: Audit) -> list[Measure]:
    found = [each for of in audit.answers(Robustness).values() for each in of]
    samples = min((each.samples for each in found if each.samples), default=0)
    epsilons = sorted({each.epsilon for each in found})
    at = f" at ε = {epsilons[0]:g}" if len(epsilons) == 1 else ""
    step = 1 / samples if samples else 0.0
    return [Measure(f"Accuracy under AutoAttack{at}", "withstood", resolution=step)]


def _explanations(audit: Audit) -> list[Measure]:  # noqa: ARG001
    key = f"better_than_random.{METHOD}.deletion.mean"
    return [Measure("Faithfulness of integrated gradients (0: no better than random)", key)]


def _fairness(audit: Audit) -> list[Measure]:
    names = [
        name for of in audit.answers(Fairness).values() for each in of for name in each.attributes
    ]
    return [
        Measure(f"{fairness.APART[PARITY]} by {name} (lower is more equal)", key_of(name, PARITY))
        for name in dict.fromkeys(names)
    ]


def _minima(audit: Audit) -> list[Measure]:  # noqa: ARG001
    return [
        Measure("Training loss (lower is better)", "train.loss"),
        Measure("Loss increase around the minimum (lower is flatter)", "sharpness.value"),
    ]


def _calibration(audit: Audit) -> list[Measure]:  # noqa: ARG001
    return [Measure("Calibration error (lower is better)", "named.equal_width.error")]


KNOWN: Mapping[str, Callable[[Audit], list[Measure]]] = {
    "forgetting": _forgetting,
    "robustness": _robustness,
    "explanations": _explanations,
    "fairness": _fairness,
    "minima": _minima,
    "calibration": _calibration,
}


def _of_column(column: Column) -> Measure:
    return Measure(capital(column.label), column.key, column.form)
