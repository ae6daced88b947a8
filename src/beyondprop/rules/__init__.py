"""Rules: where a block's teaching signal comes from."""

import difflib
from dataclasses import replace

from ..errors import UserError
from .backprop import Backprop
from .base import DirectRule, OperationRule, ProjectedRule, Rule
from .direct_feedback_alignment import DirectFeedbackAlignment
from .direct_random_target_projection import DirectRandomTargetProjection
from .feedback_alignment import FeedbackAlignment
from .frozen import Frozen

RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        Backprop,
        FeedbackAlignment,
        DirectFeedbackAlignment,
        DirectRandomTargetProjection,
        Frozen,
    )
}


def make(name: str, seed: int = 0) -> Rule:
    """Build a rule from its short name, with its usual projection drawn from ``seed``.

    Raises:
        UserError: There is no such rule.
    """
    if name not in RULES:
        near = difflib.get_close_matches(name, RULES, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UserError(f"unknown rule '{name}'; there are {', '.join(RULES)}.{hint}")
    rule = RULES[name]()
    if isinstance(rule, ProjectedRule):
        return replace(rule, projection=replace(rule.projection, seed=seed))
    return rule


__all__ = [
    "RULES",
    "Backprop",
    "DirectFeedbackAlignment",
    "DirectRandomTargetProjection",
    "DirectRule",
    "FeedbackAlignment",
    "Frozen",
    "OperationRule",
    "ProjectedRule",
    "Rule",
    "make",
]
