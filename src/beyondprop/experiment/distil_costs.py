"""What a distillation piece by piece computes, as floating-point operations."""

from __future__ import annotations

from torch import nn

from beyondprop.experiment.distil_setting import Setting
from beyondprop.experiment.distil_ways import CAPTURE, HEALING, SHARED, WHOLE
from beyondprop.neighbourhoods import Library
from beyondprop.neighbourhoods.cost import forward_operations, step_operations


def computation(setting: Setting, library: Library, merged: nn.Module) -> dict[str, float]:
    """Return the operations of capture, of healing, and of the library, whole and shared: its
    students' training, and their choice.
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
        HEALING: float(healed * step_operations(merged, setting.sample)),
        WHOLE: float(trained_all + chosen),
        SHARED: (trained_all + chosen) / len(setting.spec.budgets),
    }


def choice(setting: Setting, library: Library) -> int:
    """Return the operations by which students are judged: each runs over the validation data alone,
    and once more in the teacher's place in the whole network.
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
