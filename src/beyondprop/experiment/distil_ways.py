"""Methods that train complete models: their initial weights, training signals and budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from beyondprop.experiment.distil_lessons import Lessons, by_labels, end_to_end
from beyondprop.experiment.distil_setting import Setting
from beyondprop.neighbourhoods import Library

CAPTURE, HEALING, WHOLE, SHARED = "capture", "healing", "whole", "shared"
"""Parts of the computation. A library that serves several budgets is charged in full to each
budget, or shared among all."""


def joined(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly of trained students."""
    return library.merge(setting.teacher, choice)


def begun(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly with the initial weights of its students."""
    teacher = setting.teacher
    model = library.merge(teacher, {})
    for each in library.neighbourhoods:
        if each.name in choice:
            student = library.students[each.name][choice[each.name]]
            piece = student.candidate.build(each.piece(teacher), library.samples[each.name])
            each.put(model, piece)
    return model


def redrawn(setting: Setting, library: Library, choice: Mapping[str, str]) -> nn.Module:
    """Return an assembly with random weights, built from a new model of the task."""
    return begun(replace(setting, teacher=setting.task.model().eval()), library, choice)


@dataclass(frozen=True)
class Way:
    """A method that trains a complete model.

    Attributes:
        name: Display name.
        begin: Returns the initial model.
        lessons: Returns the training signal.
        charge: Parts whose operations it may use, by their names in `computation`.
        labelled: Whether it requires labels, which drawn inputs do not have.
        ruled: Whether the spec's rule trains it; otherwise backprop trains it.
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
"""Healing, and other methods that use the same computation."""
