"""Rules: where a block's teaching signal comes from."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from beyondprop.core import LayerRule, LossRule, ModelRule, Rule, SignalRule
from beyondprop.errors import UserError
from beyondprop.lazy import listing
from beyondprop.projections import PROJECTIONS, Projection
from beyondprop.registry import Registry, Spec
from beyondprop.rules.backprop import Backprop
from beyondprop.rules.direct.base import DirectRule
from beyondprop.rules.direct.direct_feedback_alignment import DirectFeedbackAlignment
from beyondprop.rules.direct.direct_kolen_pollack import DirectKolenPollack
from beyondprop.rules.direct.direct_random_target_projection import DirectRandomTargetProjection
from beyondprop.rules.direct.error_broadcast_decorrelation import ErrorBroadcastDecorrelation
from beyondprop.rules.direct.learned import LearnedDirectFeedback
from beyondprop.rules.frozen import Frozen
from beyondprop.rules.layerwise.feedback_alignment import FeedbackAlignment
from beyondprop.rules.layerwise.kolen_pollack import KolenPollack
from beyondprop.rules.layerwise.sign_symmetry import (
    BatchRandomSignSymmetry,
    FixedRandomSignSymmetry,
    SignSymmetry,
)
from beyondprop.rules.layerwise.weight_mirror import WeightMirror
from beyondprop.rules.local.auxiliary import AugLocal, Auxiliary, PooledConvolution
from beyondprop.rules.local.forward_forward import ForwardForward
from beyondprop.rules.local.infopro import InfoPro
from beyondprop.rules.local.local_forward_gradient import LocalForwardGradient
from beyondprop.rules.local.local_loss import LocalLoss
from beyondprop.rules.local.objectives import (
    Classes,
    Criterion,
    CrossEntropy,
    Labels,
    Objective,
    Values,
)
from beyondprop.rules.local.self_contrastive import SelfContrastiveForwardForward
from beyondprop.rules.local.similarity import PredSim, SimilarityMatching
from beyondprop.rules.local.soft_hebb import SoftHebb
from beyondprop.rules.model.dual_propagation import DualPropagation
from beyondprop.rules.model.forward_gradient import ForwardGradient
from beyondprop.rules.model.pepita import PEPITA
from beyondprop.rules.model.predictive_coding import (
    CategoricalOutput,
    ErrorPredictiveCoding,
    GaussianOutput,
    OutputDistribution,
    PredictiveCoding,
)
from beyondprop.rules.targets.difference_target_propagation import DifferenceTargetPropagation

FAMILIES = ("backprop", "layerwise", "direct", "targets", "local", "model", "frozen")
"""Modules and packages of rules, in the order in which lists show them."""

AUXILIARIES: Registry[Auxiliary] = Registry("auxiliary", Auxiliary, {})
"""Layers between a block and its classifier."""

CRITERIA: Registry[Criterion] = Registry("criterion", Criterion, {})
"""Losses that compare a block's prediction with the targets."""

OBJECTIVES: Registry[Objective] = Registry(
    "objective", Objective, {}, parts=(AUXILIARIES, CRITERIA)
)
"""Objectives that `LocalLoss` minimises."""

OUTPUTS: Registry[OutputDistribution] = Registry("output", OutputDistribution, {})
"""Models of the loss at an output that inference moves, for predictive coding."""


def _advice(name: str) -> str:
    """Return what to do about an unknown name that people take for a rule."""
    if name != "linear":
        return ""
    return (
        "the linear model on the inputs is no rule, but part of every comparison: leave it out of "
        "the rules"
    )


RULES: Registry[Rule] = Registry(
    "rule", Rule, {}, key="rule", parts=(PROJECTIONS, OBJECTIVES, OUTPUTS), advice=_advice
)
"""Every rule in its usual form, by its short name."""


def registered() -> Iterator[Any]:
    """Yield the classes that modules of rules list in ``REGISTERED``."""
    for family in FAMILIES:
        package = import_module(f"{__name__}.{family}")
        modules = iter_modules(getattr(package, "__path__", []), f"{package.__name__}.")
        for module in (package, *(import_module(each.name) for each in modules)):
            yield from getattr(module, "REGISTERED", ())


for _kind in registered():
    for _registry in (AUXILIARIES, CRITERIA, OBJECTIVES, OUTPUTS):
        if issubclass(_kind, _registry.base):
            _registry.add(_kind.name, _kind)
    if issubclass(_kind, Rule):
        RULES.add(_kind.name, _kind())
    elif issubclass(_kind, Objective):
        RULES.add(_kind.name, LocalLoss(_kind()))


def make(spec: Spec | Rule, seed: int = 0) -> Rule:
    """Build a rule from its short name or ``my.module:attribute``, optionally with arguments.

    Args:
        spec: See `beyondprop.registry.spec`: ``"dfa"``, ``"my.rules:Mine"``, or
            ``{"rule": "dfa", "projection": {"hadamard": {"rounds": 2}}}``. The return value of
            `Rule.settings` builds the same rule.
        seed: Seed of every projection for which none is given.

    Raises:
        UserError: There is no such rule, or an argument is unknown, missing or wrong.
    """
    rule = RULES.make(spec, {Projection: {"seed": seed}})
    if not isinstance(getattr(rule, "name", None), str):
        raise UserError(f'{type(rule).__name__} has no name: give the class `name = "a-word"`')
    return rule


__all__ = [
    "AUXILIARIES",
    "CRITERIA",
    "OBJECTIVES",
    "OUTPUTS",
    "PEPITA",
    "RULES",
    "AugLocal",
    "Backprop",
    "BatchRandomSignSymmetry",
    "CategoricalOutput",
    "Classes",
    "Criterion",
    "CrossEntropy",
    "DifferenceTargetPropagation",
    "DirectFeedbackAlignment",
    "DirectKolenPollack",
    "DirectRandomTargetProjection",
    "DirectRule",
    "DualPropagation",
    "ErrorBroadcastDecorrelation",
    "ErrorPredictiveCoding",
    "FeedbackAlignment",
    "FixedRandomSignSymmetry",
    "ForwardForward",
    "ForwardGradient",
    "Frozen",
    "GaussianOutput",
    "InfoPro",
    "KolenPollack",
    "Labels",
    "LayerRule",
    "LearnedDirectFeedback",
    "LocalForwardGradient",
    "LocalLoss",
    "LossRule",
    "ModelRule",
    "Objective",
    "OutputDistribution",
    "PooledConvolution",
    "PredSim",
    "PredictiveCoding",
    "Rule",
    "SelfContrastiveForwardForward",
    "SignSymmetry",
    "SignalRule",
    "SimilarityMatching",
    "SoftHebb",
    "Values",
    "WeightMirror",
    "make",
]
__dir__ = listing(__all__)
