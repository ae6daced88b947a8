"""The audit of a trained model: what it forgets, what fools it, why it answers so, and whom it
treats worse.

A section asks one question. It sees a plain model, so that all gradients are exact, whatever rule
has trained it.
"""

from beyondprop.audit.base import Audited, Section

__all__ = ["Audited", "Section"]
