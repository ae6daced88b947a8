"""The record of a run: its settings, results and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from beyondprop import rules
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError, one_line
from beyondprop.experiment.fit import Fit
from beyondprop.experiment.measuring import brief
from beyondprop.experiment.plan import RunPlan, as_json
from beyondprop.experiment.provenance import provenance
from beyondprop.files import (
    finite,
)
from beyondprop.measure import Evaluation
from beyondprop.registry import dotted, first_line
from beyondprop.tasks import Data, Task

RECORD = "record.json"
SCHEMA = 2


def run_record(
    plan: RunPlan,
    task: Task,
    data: Data,
    started: datetime,
    fitted: Fit | None,
    test: Evaluation | None,
    measured: Mapping[str, Mapping[str, Any]] | None = None,
    failure: str | None = None,
) -> dict[str, Any]:
    """Return the record of one run, as JSON.

    Args:
        plan: The run's plan.
        task: The task.
        data: The task's data.
        started: Start of the run.
        fitted: The trained model and its curve; None if the run failed.
        test: Evaluation of the last weights on the test split; None unless the run finished.
        measured: Results of the measures; see `of_run`.
        failure: Why there is no trained model.
    """
    handle = fitted.handle if fitted else None
    reason = fitted.trouble if fitted else failure
    rule = rules.make(plan.rule, plan.feedback_seed)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "run",
        "status": "failed" if not fitted else "diverged" if reason else "finished",
        "reason": reason,
        "task": describe_task(task, data),
        "rule": {
            "name": plan.name,
            "settings": rule.settings() | {"rule": rules.RULES.name(plan.rule)},
            "source": dotted.source(rule),
            "called": getattr(rule, "name", ""),  # a class of one's own may have none
            "does": first_line(type(rule)),
            "report": str(handle.report) if handle else None,
        },
        "seed": plan.seed,
        "learning_rate": None if solved(fitted) else plan.learning_rate,
        "head": fitted.head if fitted else None,
        "spec": as_json(plan),
        "curve": [brief(point) for point in fitted.curve] if fitted else [],
        "test": describe_test(test) if test else None,
        "measures": measured or {},
        "parameters": count(handle) if handle else None,
        "trained_parameters": count_trained(handle, fitted) if handle else None,
        "provenance": provenance(started, fitted.earlier if fitted else ()),
    }
    plain: dict[str, Any] = finite(record)
    return plain


def solved(fitted: Fit | None) -> bool:
    """Whether the last layer was solved instead of trained."""
    return fitted is not None and isinstance(fitted.head, dict)


def reason_of(error: BaseException) -> str:
    """Return why something failed, in one line."""
    return " ".join(str(error).split()) if isinstance(error, UserError) else one_line(error)


def describe_task(task: Task, data: Data) -> dict[str, Any]:
    """Return the description of the task for a record.

    It contains the number of examples in each split, and whether training examples are augmented.
    """
    return {
        "name": task.name,
        "data": data.name,
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
        "augmented": task.augment is not None,
        "metric": task.metric_name,
        "classes": list(data.classes),
    }


def describe_test(test: Evaluation) -> dict[str, Any]:
    """Return the test figures: `score`, `loss` and, for classification, the `confusion` matrix."""
    confusion = None if test.confusion is None else test.confusion.tolist()
    return {"score": test.score, "loss": test.loss, "confusion": confusion}


def count(handle: Attachment) -> int:
    """Return the number of values in the model's parameters."""
    return sum(parameter.numel() for parameter in handle.model.parameters())


def count_trained(handle: Attachment, fitted: Fit | None) -> int:
    """Return the number of values that the rule trains, or that were solved."""
    if fitted is not None and isinstance(fitted.head, dict):
        return int(fitted.head["parameters"])
    return sum(
        parameter.numel()
        for block in handle.blocks
        if block.rule.traits.learns
        for _, parameter in block.parameters()
        if parameter.requires_grad
    )
