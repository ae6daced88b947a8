"""The ways in which a whole model is trained: from which weights, by what, at whose charge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from beyondprop.experiment.distil_lessons import Lessons, by_labels, end_to_end
from beyondprop.experiment.distil_setting import Setting
from beyondprop.neighbourhoods import Library

CAPTURE, HEALING, WHOLE, SHARED = "capture", "healing", "whole", "shared"
"""What operations are counted for. A library that serves several budgets is charged to one of them
whole, or shared among all."""


def joined(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly of trained students."""
    return library.merge(setting.teacher, choice)


def begun(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly with the weights with which its students began."""
    teacher = setting.teacher
    model = library.merge(teacher, {})
    for each in library.neighbourhoods:
        if each.name in choice:
            student = library.students[each.name][choice[each.name]]
            piece = student.candidate.build(each.piece(teacher), library.samples[each.name])
            each.put(model, piece)
    return model


def redrawn(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly with random weights: that of a model as the task makes it."""
    return begun(replace(setting, teacher=setting.task.model().eval()), library, choice)


@dataclass(frozen=True)
class Way:
    """How a whole model is trained.

    Attributes:
        name: As people read it.
        begin: Returns the model at its beginning.
        lessons: Returns what it is taught by.
        charge: What its operations are those of, by the names in `computation`.
        labelled: Whether it needs labels, which drawn inputs do not have.
        ruled: Whether the spec's rule trains it; backprop trains the others.
    """

    name: str
    begin: Callable[[Setting, Library, Mapping[str, str]], nn.Module]
    lessons: Callable[[Setting], Lessons]
    charge: tuple[str, ...]
    labelled: bool = True
    ruled: bool = False


WAYS = (
    Way("healed", joined, by_labels, (HEALING,), ruled=True),
    Way("end to end, whole", begun, end_to_end, (HEALING, CAPTURE, WHOLE), labelled=False),
    Way("end to end, shared", begun, end_to_end, (HEALING, CAPTURE, SHARED), labelled=False),
    Way("pruned", begun, by_labels, (HEALING, CAPTURE, SHARED)),
    Way("scratch", redrawn, by_labels, (HEALING, CAPTURE, SHARED)),
)
"""Healing, and what the same computation does otherwise."""
