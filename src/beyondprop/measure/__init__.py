"""Measures: what training cost and what it bought.

A measure leaves the model unchanged: parameters, gradients, buffers, train or eval mode, and the
global random generators. Each measure is an object with a short name that experiments and reports
use (`MEASURES`), and most are also available as a function.
"""

from collections.abc import Sequence

from beyondprop.errors import UserError
from beyondprop.lazy import listing
from beyondprop.measure.accuracy import AccuracyMeasure, Evaluation, confusion, evaluate
from beyondprop.measure.alignment import (
    AlignmentMeasure,
    BlockAlignment,
    alignment,
    angle_degrees,
    block_alignments,
)
from beyondprop.measure.base import (
    Column,
    Description,
    Figures,
    Measure,
    MeasureTraits,
    Step,
    Subject,
    check,
)
from beyondprop.measure.isolation import Isolation, IsolationMeasure, isolation
from beyondprop.measure.memory import MemoryMeasure, PeakMemory, peak_memory
from beyondprop.measure.one_batch import check_batch
from beyondprop.measure.one_batch_report import BatchReport, BatchRow
from beyondprop.measure.probe import ProbeMeasure, linear_probe
from beyondprop.measure.step_time import Case, StepTime, StepTimeMeasure, rule_step, step_time
from beyondprop.measure.views import ViewsMeasure
from beyondprop.registry import Registry, Spec

MEASURES: Registry[Measure] = Registry(
    "measure",
    Measure,
    {
        measure.name: measure
        for measure in (
            AccuracyMeasure(),
            AlignmentMeasure(),
            IsolationMeasure(),
            ProbeMeasure(),
            StepTimeMeasure(),
            MemoryMeasure(),
            ViewsMeasure(),
        )
    },
)
"""Measures by short name; the first line of a measure's docstring describes it in lists."""


def find_all(specs: Sequence[Spec | Measure]) -> list[Measure]:
    """Return the measures of these names, or your own by "my.module:attribute".

    Raises:
        UserError: There is no such measure, its declarations are incomplete, or two measures would
            write the same figure into a record.
    """
    found = [MEASURES.make(spec) for spec in specs]
    for measure in found:
        check(measure)
    columns = [column for measure in found for column in measure.columns]
    keys = [each.key for column in columns for each in (column, *column.beside)]
    twice = {key for key in keys if keys.count(key) > 1}
    twice |= {m.name for m in found if [each.name for each in found].count(m.name) > 1}
    if twice:
        raise UserError(
            f"two measures have a figure with the same name: {', '.join(sorted(twice))}"
        )
    return found


__all__ = [
    "MEASURES",
    "AccuracyMeasure",
    "AlignmentMeasure",
    "BatchReport",
    "BatchRow",
    "BlockAlignment",
    "Case",
    "Column",
    "Description",
    "Evaluation",
    "Figures",
    "Isolation",
    "IsolationMeasure",
    "Measure",
    "MeasureTraits",
    "MemoryMeasure",
    "PeakMemory",
    "ProbeMeasure",
    "Step",
    "StepTime",
    "StepTimeMeasure",
    "Subject",
    "ViewsMeasure",
    "alignment",
    "angle_degrees",
    "block_alignments",
    "check_batch",
    "confusion",
    "evaluate",
    "find_all",
    "isolation",
    "linear_probe",
    "peak_memory",
    "rule_step",
    "step_time",
]
__dir__ = listing(__all__)
