"""Computation of a distillation piece by piece, in floating-point operations."""

from __future__ import annotations

import copy

import torch
from rich.progress import Progress
from torch import nn

from beyondprop import rules
from beyondprop.experiment.distil_setting import Setting, blocks_of
from beyondprop.experiment.distil_ways import CAPTURE, HEALING, SHARED, WHOLE
from beyondprop.neighbourhoods import Library, Recipe, heal
from beyondprop.neighbourhoods.cost import forward_operations
from beyondprop.registry import Spec

COUNTED = 2
"""Batch size for counting a step's operations: the smallest that batch normalisation accepts."""


def computation(setting: Setting, library: Library, merged: nn.Module) -> dict[str, float]:
    """Return the operations of capture, healing and the library.

    The library's operations are the training and the choice of its students. They are given in full
    and shared among the budgets.
    """
    seen = len(setting.data.train)
    taught = seen if setting.drawn is None else min(seen, setting.drawn.known)
    captured = taught + len(setting.data.validation)
    students = [one.record for of in library.students.values() for one in of.values()]
    trained_all = sum(each["training_operations"] for each in students)
    chosen = choice(setting, library)
    healed = setting.spec.heal_epochs * seen if setting.drawn is None else 0
    return {
        CAPTURE: float(captured * forward_operations(setting.teacher, setting.sample)),
        HEALING: healed * step_operations(setting, merged, setting.spec.rule),
        WHOLE: float(trained_all + chosen),
        SHARED: (trained_all + chosen) / len(setting.spec.budgets),
    }


def step_operations(setting: Setting, model: nn.Module, rule: Spec) -> float:
    """Return the operations of a rule's step, for one sample; the model is not changed."""
    task, batch = setting.task, setting.data.train.batch(torch.arange(COUNTED))
    once = Recipe(
        epochs=1,
        rule=rules.make(rule, setting.seed),
        blocks=blocks_of(task),
        threads=setting.spec.threads,
    )
    hidden, tried = Progress(disable=True), copy.deepcopy(model)
    found = heal(tried, [batch], task.loss, once, hidden, task.output, task.axes)
    return found.operations / COUNTED


def choice(setting: Setting, library: Library) -> int:
    """Return the operations that evaluate students for their choice.

    Each student runs over the validation data alone, and again in the complete network, where it
    replaces the teacher's piece.
    """
    samples, whole = (
        len(setting.data.validation),
        forward_operations(setting.teacher, setting.sample),
    )
    total = 0
    for each in library.neighbourhoods:
        piece = forward_operations(each.piece(setting.teacher), library.samples[each.name])
        own = [one.record["cost"]["operations"] for one in library.students[each.name].values()]
        total += samples * sum(2 * one + whole - piece for one in own)
    return total
