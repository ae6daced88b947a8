"""Projected gradient descent."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from beyondprop.audit.logits import Logits
from beyondprop.audit.robustness.attacks.base import Attack
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count


@dataclass(frozen=True)
class Pgd(Attack):
    """Projected gradient descent from a random start (Madry et al. 2018, equation 4), by captum.

    Each step has a length of 2.5 ε / steps. The objective is the log odds against the true class,
    `odds_against`.

    Attributes:
        steps: Number of gradient steps.
    """

    name: ClassVar[str] = "PGD"
    packages: ClassVar[tuple[str, ...]] = ("captum",)
    steps: Count = 20

    def __post_init__(self) -> None:
        check_fields(self)

    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return the inputs after the last step."""
        return ascended(logits, odds_against, units, targets, epsilon, self.steps)


def odds_against(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the log odds against the true class, ``(n,)``: the log-sum-exp of the other logits
    minus the true class's logit.

    The cross-entropy is its softplus, so both gradients have the same sign. Unlike the
    cross-entropy in float32, its gradient does not vanish if a model is very confident.
    """
    right = targets[:, None]  # (n, 1)
    others = logits.scatter(1, right, -torch.inf)  # (n, classes)
    return others.logsumexp(1) - logits.gather(1, right).squeeze(1)


def ascended(
    outputs: Callable[[Tensor], Any],
    loss: Callable[[Any, Any], Tensor],
    units: Tensor,
    targets: Any,
    epsilon: float,
    steps: int,
) -> Tensor:
    """Return inputs at which a loss is larger, by projected gradient steps.

    Args:
        outputs: Maps units to a model's outputs.
        loss: (outputs, targets) to ``(n,)`` or one number in a tensor ``(1,)``.
        units: ``(n, ...)`` in [0, 1].
        targets: Targets in the form that the loss requires.
        epsilon: Maximum change of a feature.
        steps: Number of gradient steps.
    """
    from captum.robust import PGD

    attack = PGD(outputs, loss, lower_bound=0.0, upper_bound=1.0)
    attack.fgsm.zero_thresh = 0.0  # the default ignores features with small gradients
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Input Tensor 0 did not already require gradients")
        found: Tensor = attack.perturb(
            units.detach(), epsilon, 2.5 * epsilon / steps, steps, targets, random_start=True
        )
    return found.detach()
