"""Accuracy under attacks that use exact gradients."""

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
    """Return the share of samples that a model classifies correctly before and after an attack.

    `withstood` returns the result for each sample.
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
    """Return which samples a model classifies correctly before and after an attack, ``(n,)`` bool.

    The attack uses exact gradients, whatever is attached to the model: through a feedback graph it
    would follow a direction that is not the gradient, fail, and report a false robustness. The
    model is in eval mode during the attack; the model and the random generators are left unchanged.

    Args:
        model: Returns logits; see `beyondprop.audit.logits.as_logits`.
        inputs: ``(n, ...)``. Values outside their range are moved to its edge before the attack.
        targets: Classes, ``(n,)`` int64.
        ranges: Ranges of the features in the training data: the attack stays within them.
        epsilon: Maximum change of each feature, as a share of its range. 0 means no attack.
        attack: The attack.
        seed: Seed of the attack.

    Raises:
        UserError: The inputs are not real numbers, ε is negative, a package is missing, or the
            outputs are not logits of these classes.
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
    """Return which samples a model classifies correctly, ``(n,)`` bool."""
    with torch.no_grad():
        logits = logits_of(model, inputs)  # (n, classes)
    if len(targets) and int(targets.max()) >= logits.shape[1]:
        raise UserError(f"there is a class {int(targets.max())}, but only {logits.shape[1]} logits")
    return logits.argmax(1) == targets


def share(right: Tensor) -> dict[str, Any]:
    """Return the share of correct samples with its 95 % interval (Wilson 1927), as JSON."""
    from scipy.stats import binomtest  # slow to import

    count, total = int(right.sum()), len(right)
    interval = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return {"accuracy": count / total, "interval": [float(each) for each in interval]}


def masking(by_gradients: Tensor, without: Tensor) -> dict[str, Any]:
    """Return whether an attack without gradients beats one with them, as JSON.

    If so, the gradients are masked (Athalye et al. 2018), and the accuracy under the gradient
    attack is not reliable. The test is paired (McNemar 1947, exact): it asks whether significantly
    more samples fall only to the attack without gradients than only to the one with them.

    Args:
        by_gradients: Which samples withstood the attack with gradients, ``(n,)`` bool.
        without: Which samples withstood the attack without gradients.

    Returns:
        "masked"; "without" and "by_gradients": how many samples fall only to that attack; "p".
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
