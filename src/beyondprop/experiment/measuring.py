"""What the measures say of a run, for its record: each one in turn, whichever they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from beyondprop.errors import UserError
from beyondprop.measure import Figures, Measure, Subject, find_all
from beyondprop.registry import Spec
from beyondprop.registry.dotted import one_line

BRIEF = ("values", "blocks", "notes", "failure")
"""What of the figures a record's curve keeps; of the last ones the record has all."""

STEPS = frozenset({"step", "plain_step", "device"})
"""What only a comparison has, which takes the steps of all rules in turns."""

NOWHERE = (
    "it needs a step beside other things, and steps are measured alone: make two measures of it"
)


def at_point(subject: Subject, epoch: int, measures: Sequence[Spec]) -> dict[str, dict[str, Any]]:
    """Return what is measured after an epoch, by the measures' names; epoch 0 is before
    training.
    """
    return {
        measure.name: attempted(measure, subject).json()
        for measure in find_all(measures)
        if measure.traits.each_epoch or (measure.traits.before_training and epoch == 0)
        if not measure.lacking(subject)
    }


def of_run(
    subject: Subject,
    curve: Sequence[Mapping[str, Any]],
    finished: bool,
    measures: Sequence[Spec],
) -> dict[str, dict[str, Any]]:
    """Return what is known of a run at its end: each measure's description and its figures.

    What is measured after every epoch is taken from the last one, what is measured before training
    from the first. All else is measured now, with the last weights, unless the run did not finish.
    """
    found: dict[str, dict[str, Any]] = {}
    for measure in find_all(measures):
        known = [point["measures"][measure.name] for point in curve if _has(point, measure)]
        if known:
            figures = known[-1]
        elif finished and not measure.lacking(subject):
            figures = attempted(measure, subject).json()
        elif finished and measure.traits.needs & STEPS and measure.traits.needs - STEPS:
            figures = Figures(failure=NOWHERE).json()
        else:
            continue
        found[measure.name] = measure.description().json() | figures
    return found


def attempted(measure: Measure, subject: Subject) -> Figures:
    """Return what a measure finds, or why it fails: the run stands, whatever a measure does."""
    try:
        figures = measure.run(subject)
        if not isinstance(figures, Figures):
            raise UserError(f"it returned a {type(figures).__name__}, not Figures")
        json.dumps(figures.json())  # what a record cannot hold fails here, and not at the end
        return figures
    except UserError as error:
        return Figures(failure=str(error))
    except Exception as error:  # whatever a model or a measure does wrong
        return Figures(failure=one_line(error))


def brief(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point of the curve as records keep it: figures without words and details."""
    figures = {
        name: {key: value for key, value in found.items() if key in BRIEF}
        for name, found in point["measures"].items()
    }
    return {**point, "measures": figures}


def _has(point: Mapping[str, Any], measure: Measure) -> bool:
    return measure.name in point.get("measures", {})
