"""Continual learning methods, each usable with any rule."""

from beyondprop.continual.methods.base import Learner, Learning, Method
from beyondprop.continual.methods.consolidation import ElasticConsolidation, fisher
from beyondprop.continual.methods.distillation import WithoutForgetting
from beyondprop.continual.methods.intelligence import SynapticIntelligence
from beyondprop.continual.methods.plain import Plain
from beyondprop.continual.methods.replay import DarkReplay, Replay
from beyondprop.continual.methods.selections import Selections
from beyondprop.registry import Registry, Spec

METHODS: Registry[Method] = Registry(
    "method",
    Method,
    {
        kind.name: kind
        for kind in (
            *(Plain, ElasticConsolidation, SynapticIntelligence, WithoutForgetting),
            *(Replay, DarkReplay, Selections),
        )
    },
    key="method",
)
"""All methods by short name."""


def make(spec: Spec | Method) -> Method:
    """Build a method from its short name or ``my.module:attribute``, with arguments if required.

    Args:
        spec: See `beyondprop.registry.spec`: ``"ewc"``, ``"my.module:Mine"``, or ``{"method":
            "replay", "size": 200}``.

    Raises:
        UserError: There is no such method, or an argument is unknown, missing or wrong.
    """
    return METHODS.make(spec)


__all__ = [
    "METHODS",
    "DarkReplay",
    "ElasticConsolidation",
    "Learner",
    "Learning",
    "Method",
    "Plain",
    "Replay",
    "Selections",
    "SynapticIntelligence",
    "WithoutForgetting",
    "fisher",
    "make",
]
