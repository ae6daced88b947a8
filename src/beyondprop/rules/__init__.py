"""Rules: where a block's teaching signal comes from."""

from beyondprop.core import LayerRule, LossRule, ModelRule, Rule, SignalRule
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
from beyondprop.rules.local.auxiliary import AugLocal, Auxiliary
from beyondprop.rules.local.forward_forward import ForwardForward
from beyondprop.rules.local.infopro import InfoPro
from beyondprop.rules.local.local_forward_gradient import LocalForwardGradient
from beyondprop.rules.local.local_loss import LocalLoss
from beyondprop.rules.local.objectives import CrossEntropy, Objective
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

AUXILIARIES: Registry[Auxiliary] = Registry(
    "auxiliary", Auxiliary, {kind.name: kind for kind in (AugLocal,)}
)
"""Layers between a block and its classifier."""

OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    Objective,
    {kind.name: kind for kind in (CrossEntropy, SimilarityMatching, PredSim, InfoPro)},
    parts=(AUXILIARIES,),
)
"""What `LocalLoss` lowers."""

OUTPUTS: Registry[OutputDistribution] = Registry(
    "output",
    OutputDistribution,
    {kind.name: kind for kind in (CategoricalOutput, GaussianOutput)},
)
"""What the loss at an output that inference moves is taken to be, for predictive coding."""

RULES: Registry[Rule] = Registry(
    "rule",
    Rule,
    {
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
            SoftHebb(),
            ForwardGradient(),
            LocalForwardGradient(),
            PEPITA(),
            DifferenceTargetPropagation(),
            DualPropagation(),
            PredictiveCoding(),
            ErrorPredictiveCoding(),
            Frozen(),
        )
    },
    key="rule",
    parts=(PROJECTIONS, OBJECTIVES, OUTPUTS),
)
"""Every rule in its usual form, by its short name."""


def make(spec: Spec | Rule, seed: int = 0) -> Rule:
    """Build a rule from its short name or ``my.module:attribute``, with arguments if need be.

    Args:
        spec: See `beyondprop.registry.spec`: ``"dfa"``, ``"my.rules:Mine"``, or
            ``{"rule": "dfa", "projection": {"hadamard": {"rounds": 2}}}``. What `Rule.settings`
            returns builds the same rule.
        seed: Of every projection that has not been given its own.

    Raises:
        UserError: There is no such rule, or an argument is unknown, missing or wrong.
    """
    return RULES.make(spec, {Projection: {"seed": seed}})


__all__ = [
    "AUXILIARIES",
    "OBJECTIVES",
    "OUTPUTS",
    "PEPITA",
    "RULES",
    "AugLocal",
    "Backprop",
    "BatchRandomSignSymmetry",
    "CategoricalOutput",
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
    "LayerRule",
    "LearnedDirectFeedback",
    "LocalForwardGradient",
    "LocalLoss",
    "LossRule",
    "ModelRule",
    "Objective",
    "OutputDistribution",
    "PredSim",
    "PredictiveCoding",
    "Rule",
    "SelfContrastiveForwardForward",
    "SignSymmetry",
    "SignalRule",
    "SimilarityMatching",
    "SoftHebb",
    "WeightMirror",
    "make",
]
