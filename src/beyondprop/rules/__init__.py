"""Rules: where a block's teaching signal comes from."""

import difflib
from dataclasses import replace

from ..errors import UserError
from ..projections import Projection
from .auxiliary import AugLocal
from .backprop import Backprop
from .base import DirectRule, OperationRule, ProjectedRule, Rule
from .direct_feedback_alignment import DirectFeedbackAlignment
from .direct_kolen_pollack import DirectKolenPollack
from .direct_random_target_projection import DirectRandomTargetProjection
from .error_broadcast_decorrelation import ErrorBroadcastDecorrelation
from .feedback_alignment import FeedbackAlignment
from .forward_forward import ForwardForward
from .forward_gradient import ForwardGradient
from .frozen import Frozen
from .infopro import InfoPro
from .kolen_pollack import KolenPollack
from .local import LocalRule
from .local_forward_gradient import LocalForwardGradient
from .local_loss import LocalLoss
from .objectives import CrossEntropy, Objective
from .pepita import PEPITA
from .self_contrastive import SelfContrastiveForwardForward
from .sign_symmetry import BatchRandomSignSymmetry, FixedRandomSignSymmetry, SignSymmetry
from .similarity import PredSim, SimilarityMatching
from .weight_mirror import WeightMirror

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
    "CrossEntropy",
    "DirectFeedbackAlignment",
    "DirectKolenPollack",
    "DirectRandomTargetProjection",
    "DirectRule",
    "ErrorBroadcastDecorrelation",
    "FeedbackAlignment",
    "FixedRandomSignSymmetry",
    "ForwardForward",
    "ForwardGradient",
    "Frozen",
    "InfoPro",
    "KolenPollack",
    "LocalForwardGradient",
    "LocalLoss",
    "LocalRule",
    "Objective",
    "OperationRule",
    "PredSim",
    "ProjectedRule",
    "Rule",
    "SelfContrastiveForwardForward",
    "SignSymmetry",
    "SimilarityMatching",
    "WeightMirror",
    "describe",
    "make",
]
