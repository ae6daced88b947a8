"""Results of all measures of a run, for its record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from beyondprop.engine.attach import attachment_of
from beyondprop.engine.untouched import untouched, weights_kept
from beyondprop.errors import FAULTS, UserError, one_line
from beyondprop.measure import Figures, Measure, Subject, find_all
from beyondprop.registry import Spec

BRIEF = ("values", "blocks", "notes", "failure")
"""Parts of the figures that a record's curve contains; the record has the last figures in full."""

STEPS = frozenset({"step", "plain_step", "device"})
"""Needs that only a comparison meets, which runs the steps of all rules in turn."""

NOWHERE = (
    "it needs a step in addition to other things, but steps are measured alone: split it into two "
    "measures"
)


def at_point(subject: Subject, epoch: int, measures: Sequence[Spec]) -> dict[str, dict[str, Any]]:
    """Return the results of measures after an epoch, by name; epoch 0 is before training."""
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
    """Return the results of measures at the end of a run: their descriptions and figures.

    Figures of every epoch are those of the last epoch, and figures before training those of the
    first point. All others are measured now, with the last weights, unless the run did not finish.
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
    """Return a measure's figures, or why it failed; the run continues as if it had not run.

    Raises:
        UserError: The measure removed the rules from the model, so the run cannot continue.
    """
    found = _attempted(measure, subject)
    handle = subject.handle
    if handle is not None and attachment_of(handle.model) is not handle:
        raise UserError(
            f"the measure {measure.name} removed the rules from the model (by handle.remove or "
            "another attach), and the run cannot continue without them: let the measure change "
            "copy.deepcopy(model)"
        )
    return found


def _attempted(measure: Measure, subject: Subject) -> Figures:
    try:
        with _unchanged(subject):
            figures = measure.run(subject)
        if not isinstance(figures, Figures):
            raise UserError(f"it returned a {type(figures).__name__}, not Figures")
        json.dumps(figures.json())  # values that JSON can't represent fail here, not at the end
        return figures
    except UserError as error:
        return Figures(failure=str(error))
    except FAULTS as error:  # any error of a model or a measure
        return Figures(failure=one_line(error))


@contextmanager
def _unchanged(subject: Subject) -> Iterator[None]:
    """Restore the subject's model and the generators after the block."""
    models = [subject.model, None if subject.handle is None else subject.handle.model]
    with ExitStack() as restored:
        for model in dict.fromkeys(model for model in models if model is not None):
            restored.enter_context(untouched(model))
            restored.enter_context(weights_kept(model))
        yield


def brief(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point of the curve in the form of a record: figures without descriptions."""
    figures = {
        name: {key: value for key, value in found.items() if key in BRIEF}
        for name, found in point["measures"].items()
    }
    return {**point, "measures": figures}


def _has(point: Mapping[str, Any], measure: Measure) -> bool:
    return measure.name in point.get("measures", {})
