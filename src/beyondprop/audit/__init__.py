"""The audit of a trained model: what it forgets, what fools it, why it answers so, and whom it
treats worse.

A section asks one question. It sees a plain model, so that all gradients are exact, whatever rule
has trained it.
"""

from beyondprop.audit.base import Audited, Section
from beyondprop.audit.calibration import Calibration
from beyondprop.audit.explanations.section import Explanations
from beyondprop.audit.fairness import Fairness
from beyondprop.audit.forgetting import Forgetting
from beyondprop.audit.minima import Minima
from beyondprop.audit.robustness import Robustness
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
"""Every section by its short name, in the order of the report."""

__all__ = ["SECTIONS", "Audited", "Section"]
