"""Gradient-Blending: losses of single modalities and the joint loss, with measured weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError, check_type
from beyondprop.modalities.balance.base import Balance, Balancing, Loss
from beyondprop.modalities.balance.steps import (
    check_heads,
    check_reached,
    joint_loss,
    losses_alone,
    run,
)
from beyondprop.modalities.network import MultimodalNetwork

JOINT = "joint"
"""Names the network of all modalities among the names of single modalities."""


@dataclass(frozen=True)
class Losses:
    """The mean losses of one network at one checkpoint.

    Attributes:
        train: On the training data.
        validation: On the validation data.
    """

    train: float
    validation: float


def blending_weights(before: Mapping[str, Losses], after: Mapping[str, Losses]) -> dict[str, float]:
    """Return the loss weights that minimise the overfitting-to-generalisation ratio.

    Between two checkpoints a network generalises by the fall of its validation loss,
    ``G = V_before - V_after``, and overfits by the growth of the gap between its losses,
    ``ΔO = (V_after - T_after) - (V_before - T_before)``. The weights ``w_k = G_k / ΔO_k² / Z``
    minimise the ratio of the blend, ``|ΔO / G|``, if the gradients' deviations are uncorrelated:
    Wang, Tran and Feiszli, "What makes training multi-modal classification networks hard?", CVPR
    2020. Here ``Z`` makes the weights add up to one, like those that the authors released.

    A network whose validation loss did not fall gets the weight 0, since training must lower the
    blended loss; the paper does not discuss that case.

    Args:
        before: Losses by modality, and those of the network of all modalities under ``"joint"``;
            each network was trained on its own.
        after: Losses of the same networks, a number of epochs later.

    Raises:
        UserError: Names differ, a loss is not finite, no validation loss fell, or a gap did not
            change at all.
    """
    if set(before) != set(after) or not before:
        raise UserError(
            f"losses before are of {', '.join(before) or 'nothing'} and losses after of "
            f"{', '.join(after) or 'nothing'}: measure the same networks twice"
        )
    raw = {name: _raw_weight(name, before[name], after[name]) for name in before}
    total = sum(raw.values())
    if not total:
        raise UserError(
            "no network's validation loss fell, so none has a weight: measure over fewer or more "
            "epochs"
        )
    return {name: each / total for name, each in raw.items()}


def _raw_weight(name: str, before: Losses, after: Losses) -> float:
    """Return a weight before normalisation."""
    generalized = before.validation - after.validation
    overfitted = (after.validation - after.train) - (before.validation - before.train)
    if not (math.isfinite(generalized) and math.isfinite(overfitted)):
        raise UserError(f"the losses of '{name}' are not all finite")
    if generalized <= 0:
        return 0.0
    weight = generalized / overfitted**2 if overfitted**2 else math.inf
    if not math.isfinite(weight):
        raise UserError(
            f"the gap between the losses of '{name}' did not change, so its weight would be "
            "infinite: measure on other data for validation than for training"
        )
    return weight


@dataclass(frozen=True)
class GradientBlending(Balance):
    """Adds losses of single modalities to the joint loss, with measured weights.

    ``L = w_joint L(head(fusion(z_1, …, z_M)), y) + Σ_m w_m L(head_m(z_m), y)``. Wang, Tran and
    Feiszli, "What makes training multi-modal classification networks hard?", CVPR 2020.
    `blending_weights` computes the weights. Computed once, they give the paper's offline form; for
    its online form, compute them again every few epochs and call `begin` with the new weights.

    The loss of a modality is a mean over the samples of a batch that have it. If no sample has it,
    its term is left out and the other weights stay the same.

    Args:
        weights: Weights by modality, and that of the network's own loss under ``"joint"``; none may
            be negative.
    """

    name: ClassVar[str] = "gradient-blending"
    needs: ClassVar[frozenset[str]] = frozenset({"weights"})
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        kinds = (Mapping, type(None))
        check_type("weights", self.weights, kinds, "numbers by the names of modalities")
        given: Mapping[str, Any] = self.weights or {}  # from a file, say
        for name, weight in given.items():
            if not isinstance(weight, Real) or not 0 <= float(weight) < math.inf:
                raise UserError(f"the weight of '{name}' must be a number of 0 or more: {weight!r}")
        if self.weights is not None and not any(self.weights.values()):
            raise UserError("at least one weight must be above 0")

    def begin(self, network: MultimodalNetwork, heads: nn.ModuleDict, loss: Loss) -> Balancing:
        """Return steps with these weights.

        Raises:
            UserError: There are no weights, they name other modalities, or a head is missing.
        """
        if self.weights is None:
            raise UserError(
                "gradient-blending has no weights: measure losses of each modality's network and "
                "of the whole, and give blending_weights(before, after)"
            )
        wanted = {*network.modalities, JOINT}
        if JOINT in network.modalities or set(self.weights) != wanted:
            raise UserError(
                f"the weights are of {', '.join(self.weights)}, but must be of "
                f"{', '.join(network.modalities)} and of '{JOINT}', which names no modality"
            )
        check_heads(network, heads)
        return BlendedSteps(network, heads, loss, dict(self.weights))


@dataclass(frozen=True)
class BlendedSteps(Balancing):
    """Steps on a weighted sum of losses."""

    network: MultimodalNetwork
    heads: nn.ModuleDict
    loss: Loss
    weights: Mapping[str, float]

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The heads."""
        return (self.heads,)

    def differentiate(self, inputs: Mapping[str, Any], targets: Any) -> Tensor:
        """Run one backward pass from the weighted sum of all losses."""
        check_reached(self.network, GradientBlending.name)
        ran = run(self.network, inputs, targets)
        joint = joint_loss(self.network, self.loss, ran.outputs, targets)
        alone = losses_alone(self.network, self.heads, self.loss, ran, targets)
        found = {JOINT: joint, **alone}
        torch.stack([self.weights[name] * each for name, each in found.items()]).sum().backward()
        return joint.detach()
