"""What the measures say of a run, for its record: each one in turn, whichever they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from beyondprop.engine.attach import attachment_of
from beyondprop.engine.untouched import untouched, weights_kept
from beyondprop.errors import FAULTS, UserError
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
    """Return what a measure finds, or why it fails: the run goes on as if nothing was measured.

    Raises:
        UserError: The measure took the rules off the model, and it cannot go on without them.
    """
    found = _attempted(measure, subject)
    handle = subject.handle
    if handle is not None and attachment_of(handle.model) is not handle:
        raise UserError(
            f"the measure {measure.name} took the rules off the model (handle.remove, or another "
            "attach), and the run cannot go on without them: have it change copy.deepcopy(model)"
        )
    return found


def _attempted(measure: Measure, subject: Subject) -> Figures:
    try:
        with _unchanged(subject):
            figures = measure.run(subject)
        if not isinstance(figures, Figures):
            raise UserError(f"it returned a {type(figures).__name__}, not Figures")
        json.dumps(figures.json())  # what a record cannot hold fails here, and not at the end
        return figures
    except UserError as error:
        return Figures(failure=str(error))
    except FAULTS as error:  # whatever a model or a measure does wrong
        return Figures(failure=one_line(error))


@contextmanager
def _unchanged(subject: Subject) -> Iterator[None]:
    """Leave the subject's model and the generators as they were, whatever is done inside."""
    models = [subject.model, None if subject.handle is None else subject.handle.model]
    with ExitStack() as restored:
        for model in dict.fromkeys(model for model in models if model is not None):
            restored.enter_context(untouched(model))
            restored.enter_context(weights_kept(model))
        yield


def brief(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point of the curve as records keep it: figures without words and details."""
    figures = {
        name: {key: value for key, value in found.items() if key in BRIEF}
        for name, found in point["measures"].items()
    }
    return {**point, "measures": figures}


def _has(point: Mapping[str, Any], measure: Measure) -> bool:
    return measure.name in point.get("measures", {})
