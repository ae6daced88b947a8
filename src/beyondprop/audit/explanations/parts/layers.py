"""The contribution of each block's units to the answers."""

from __future__ import annotations

from torch import Tensor, nn

from beyondprop.audit.base import Answer, Audited
from beyondprop.audit.explanations.evidence import evidence
from beyondprop.audit.explanations.figures import of_layer
from beyondprop.audit.explanations.layers import block_ends, layer_figures, with_rows
from beyondprop.audit.explanations.parts.attributions import TOLERANCE
from beyondprop.audit.explanations.subject import Subject


def layers(
    model: nn.Module,
    audited: Audited,
    subject: Subject,
    classes: Tensor,
    steps: int,
    most_steps: int,
) -> Answer:
    """Return the figures of each block's units. Blocks whose output does not have one row per
    sample, or does not affect the answers, are left out.
    """
    ends = block_ends(audited.task, model)
    usable = with_rows(model, list(ends.values()), subject.inputs[:2])
    found, told = {}, evidence(model)
    for name, end in ends.items():
        if end in usable:
            figures = layer_figures(
                told, model.get_submodule(end), subject.inputs, classes, subject.absent,
                steps=steps, most=most_steps,
            )  # fmt: skip
            if figures is not None:
                found[name] = of_layer(figures, TOLERANCE)
    return {
        "samples": len(classes),
        "blocks": found,
        "left_out": [name for name in ends if name not in found],
    }
