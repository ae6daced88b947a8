"""Rules: where a block's teaching signal comes from."""

import difflib
from dataclasses import replace

from beyondprop.core import LayerRule, LossRule, ModelRule, Rule, SignalRule
from beyondprop.errors import UserError
from beyondprop.projections import Projection
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
from beyondprop.rules.local.auxiliary import AugLocal
from beyondprop.rules.local.forward_forward import ForwardForward
from beyondprop.rules.local.infopro import InfoPro
from beyondprop.rules.local.local_forward_gradient import LocalForwardGradient
from beyondprop.rules.local.local_loss import LocalLoss
from beyondprop.rules.local.objectives import CrossEntropy, Objective
from beyondprop.rules.local.self_contrastive import SelfContrastiveForwardForward
from beyondprop.rules.local.similarity import PredSim, SimilarityMatching
from beyondprop.rules.model.forward_gradient import ForwardGradient
from beyondprop.rules.model.pepita import PEPITA
from beyondprop.rules.model.predictive_coding import (
    CategoricalOutput,
    ErrorPredictiveCoding,
    GaussianOutput,
    PredictiveCoding,
)

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Backprop(),
        FeedbackAlignment(),
        SignSymmetry(),
        BatchRandomSignSymmetry(),
        FixedRandomSignSymmetry(),
        WeightMirror(),
        KolenPollack(),
        DirectFeedbackAlignment(),
        DirectKolenPollack(),
        DirectRandomTargetProjection(),
        ErrorBroadcastDecorrelation(),
        LocalLoss(CrossEntropy()),
        LocalLoss(SimilarityMatching()),
        LocalLoss(PredSim()),
        LocalLoss(InfoPro()),
        ForwardForward(),
        SelfContrastiveForwardForward(),
        ForwardGradient(),
        LocalForwardGradient(),
        PEPITA(),
        PredictiveCoding(),
        ErrorPredictiveCoding(),
        Frozen(),
    )
}
"""Every rule in its usual form, by its short name."""


def make(name: str, seed: int = 0) -> Rule:
    """Build a rule from its short name, with its usual projection drawn from ``seed``.

    Raises:
        UserError: There is no such rule.
    """
    if name not in RULES:
        near = difflib.get_close_matches(name, RULES, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UserError(f"unknown rule '{name}'; there are {', '.join(RULES)}.{hint}")
    rule = RULES[name]
    drawn = {
        name: replace(value, seed=seed)
        for name, value in vars(rule).items()
        if isinstance(value, Projection)
    }
    return replace(rule, **drawn)  # type: ignore[type-var]


def describe(rule: Rule) -> str:
    """Return in a line what a rule is."""
    documented = rule.objective if isinstance(rule, LocalLoss) else rule
    return (documented.__doc__ or "").strip().partition("\n")[0]


__all__ = [
    "PEPITA",
    "RULES",
    "AugLocal",
    "Backprop",
    "BatchRandomSignSymmetry",
    "CategoricalOutput",
    "CrossEntropy",
    "DirectFeedbackAlignment",
    "DirectKolenPollack",
    "DirectRandomTargetProjection",
    "DirectRule",
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
    "LayerRule",
    "LearnedDirectFeedback",
    "LocalForwardGradient",
    "LocalLoss",
    "LossRule",
    "ModelRule",
    "Objective",
    "PredSim",
    "PredictiveCoding",
    "Rule",
    "SelfContrastiveForwardForward",
    "SignSymmetry",
    "SignalRule",
    "SimilarityMatching",
    "WeightMirror",
    "describe",
    "make",
]
