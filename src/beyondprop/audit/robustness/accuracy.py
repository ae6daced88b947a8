"""Accuracy under an attack, by exact gradients alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.audit.logits import logits_of
from beyondprop.audit.robustness.attacks.base import Attack
from beyondprop.audit.robustness.attacks.pgd import Pgd
from beyondprop.audit.robustness.ranges import Ranges, real
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.untouched import untouched, weights_kept
from beyondprop.errors import UserError

BATCH = 500
LEVEL = 0.95

PGD = Pgd()


def robust_accuracy(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    ranges: Ranges,
    epsilon: float,
    attack: Attack = PGD,
    seed: int = 0,
) -> float:
    """Return the share of samples that a model gets right before and after an attack.

    See `withstood`, which says it of each sample.
    """
    found = withstood(model, inputs, targets, ranges, epsilon, attack, seed)
    return found.double().mean().item()


def withstood(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    ranges: Ranges,
    epsilon: float,
    attack: Attack = PGD,
    seed: int = 0,
) -> Tensor:
    """Return which samples a model gets right before and after an attack, ``(n,)`` bool.

    The attack sees exact gradients, whatever is attached to the model: through a feedback graph it
    would follow a direction that is no gradient, fail, and report a robustness that isn't there.
    The model is in eval mode meanwhile; it and the generators are left as they were.

    Args:
        model: Gives logits; see `beyondprop.audit.logits.as_logits`.
        inputs: ``(n, ...)``. What lies beyond its range is attacked from the range's edge.
        targets: Classes, ``(n,)`` int64.
        ranges: Of the features, as the training data have them: the attack stays within them.
        epsilon: How far each feature may be moved, as a share of its range. 0 means no attack.
        attack: Which one.
        seed: Of the attack.

    Raises:
        UserError: The inputs are no real numbers, ε is none, a package is missing, or the outputs
            are no logits of these classes.
    """
    if not (epsilon >= 0 and math.isfinite(epsilon)):
        raise UserError(f"epsilon must be 0 or more, not {epsilon}")
    attack.check_installed()
    with (
        untouched(model),
        weights_kept(model),  # parts of AutoAttack leave gradients in the parameters
        torch.inference_mode(False),
        exact_gradients(model),
    ):
        model.eval().requires_grad_(False)
        torch.manual_seed(seed)
        rows = range(0, len(real(inputs)), BATCH)
        found = [
            _withstood(
                model, inputs[at : at + BATCH], targets[at : at + BATCH], ranges, epsilon, attack
            )
            for at in rows
        ]
    return torch.cat(found)


def _withstood(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    ranges: Ranges,
    epsilon: float,
    attack: Attack,
) -> Tensor:
    right = is_right(model, inputs, targets)  # (n,)
    if epsilon == 0 or not right.any():
        return right
    attacked = attack.perturbed(
        lambda units: logits_of(model, ranges.inputs(units)),
        ranges.units(inputs[right]),
        targets[right],
        epsilon,
    )
    right[right.clone()] = is_right(model, ranges.inputs(attacked), targets[right])
    return right


def is_right(model: nn.Module, inputs: Any, targets: Tensor) -> Tensor:
    """Return which samples a model gets right, ``(n,)`` bool."""
    with torch.no_grad():
        logits = logits_of(model, inputs)  # (n, classes)
    if len(targets) and int(targets.max()) >= logits.shape[1]:
        raise UserError(f"there is a class {int(targets.max())}, and {logits.shape[1]} logits")
    return logits.argmax(1) == targets


def share(right: Tensor) -> dict[str, Any]:
    """Return the share of samples that are right, with its 95 % interval (Wilson 1927), as JSON."""
    from scipy.stats import binomtest  # takes long to import

    count, total = int(right.sum()), len(right)
    interval = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return {"accuracy": count / total, "interval": [float(each) for each in interval]}


def masking(by_gradients: Tensor, without: Tensor) -> dict[str, Any]:
    """Return whether an attack without gradients beats one with them, as JSON.

    Then the gradients hide how the model is fooled (Athalye et al. 2018), and what the attack by
    them says isn't to be believed. It is a test of paired samples (McNemar 1947, exact): whether
    more samples fall to the one attack alone than to the other alone by more than chance has it.

    Args:
        by_gradients: Which samples withstood the attack by gradients, ``(n,)`` bool.
        without: Which withstood the attack without.

    Returns:
        "masked"; "without" and "by_gradients": how many samples fall to that attack alone; "p".
    """
    from scipy.stats import binomtest

    alone = int((by_gradients & ~without).sum())
    others = int((without & ~by_gradients).sum())
    tested = alone + others > 0
    p = binomtest(alone, alone + others, alternative="greater").pvalue if tested else 1.0
    masked = bool(p < (1 - LEVEL) / 2)
    return {"masked": masked, "without": alone, "by_gradients": others, "p": float(p)}


def curve(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    ranges: Ranges,
    epsilons: Sequence[float],
    attack: Attack = PGD,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the accuracy for each ε, as JSON: "epsilon", "accuracy" and its "interval"."""
    return [
        {"epsilon": each, **share(withstood(model, inputs, targets, ranges, each, attack, seed))}
        for each in epsilons
    ]
