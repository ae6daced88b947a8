"""Audits of trained models: forgetting, robustness, explanations, fairness and more.

Each section answers one question. It receives a plain model, so all gradients are exact, whatever
rule trained the model.
"""

from beyondprop.audit.base import Audited, Section
from beyondprop.audit.calibration import Calibration
from beyondprop.audit.explanations.section import Explanations
from beyondprop.audit.fairness import Fairness
from beyondprop.audit.forgetting import Forgetting
from beyondprop.audit.minima import Minima
from beyondprop.audit.robustness import Robustness
from beyondprop.lazy import listing
from beyondprop.registry import Registry

SECTIONS: Registry[Section] = Registry(
    "section",
    Section,
    {
        kind.name: kind
        for kind in (Forgetting, Robustness, Explanations, Fairness, Minima, Calibration)
    },
    key="section",
)
"""All sections by short name, in the order of the report."""

__all__ = ["SECTIONS", "Audited", "Section"]
__dir__ = listing(__all__)
