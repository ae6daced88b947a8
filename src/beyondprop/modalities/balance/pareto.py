"""MMPareto: a direction that lowers both a modality's own loss and the joint loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.modalities.balance.base import Balance, Balancing, Loss
from beyondprop.modalities.balance.steps import (
    check_heads,
    check_reached,
    gradients_apart,
    joint_loss,
    losses_alone,
    own_parameters,
    run,
)
from beyondprop.modalities.network import MultimodalNetwork
from beyondprop.registry.limits import Positive

PARALLEL = 100.0
"""Gradients count as exactly opposite if sin² of their angle is at most this many epsilons."""


@dataclass(frozen=True)
class MMPareto(Balance):
    """Each modality learns along a direction that opposes neither its own nor the joint loss.

    Wei and Hu, "MMPareto: boosting multimodal learning with innocent unimodal assistance", ICML
    2024. Each modality has its own loss, ``L(head_m(z_m), y)``. For the parameters of one modality,
    let ``g`` be the gradient of the joint loss and ``u`` that of its own loss:

    - ``g · u ≥ 0``: ``h = g + u``.
    - ``g · u < 0``: ``d = a g + (1 - a) u``, with the ``a`` from 0 to 1 that minimises ``|d|``,
      ``a = u · (u - g) / |g - u|²``, is a descent direction of both losses; ``h = |g + u| d/|d|``
      has the length of the plain sum.

    The gradient is ``γ h``. All other parameters (of fusion, head and the modalities' heads) learn
    from the sum of all losses.

    Differences from the released code:

    - Released code rescales ``h`` to the length of the sum for each parameter separately, and only
      where that makes it longer. The complete gradient is then not a positive multiple of ``d`` and
      may oppose a loss. Here all parameters of a modality form one vector, as the angle is that of
      one vector. For this vector ``|2 d| ≤ |g + u|`` always holds, because the midpoint of ``g``
      and ``u`` is not shorter than ``d``.
    - A modality's parameters are those of its encoder and its projection ``P_m``, which nothing
      else uses.
    - Gradients that are exactly opposite have no common direction: a modality's gradient is then 0.
      Released code divides by zero there.
    - A modality that no sample of the batch has gets no gradient. Its loss is a mean over the
      samples that have it.

    Each step runs two backward passes through one forward pass. Rules that end the graph of blocks
    do not carry a modality's own loss to its encoder and are rejected; rules for layers (feedback
    alignment) work.

    Args:
        gamma: The factor of the modalities' gradients; above 1 in the paper, 1.5 in released code.
    """

    name: ClassVar[str] = "mmpareto"
    gamma: Positive = 1.5

    def begin(self, network: MultimodalNetwork, heads: nn.ModuleDict, loss: Loss) -> Balancing:
        """Return steps along common directions.

        Raises:
            UserError: A head is missing, or parameters are shared.
        """
        check_heads(network, heads)
        own_parameters(network)
        return ParetoSteps(network, heads, loss, self.gamma)


@dataclass(frozen=True)
class ParetoSteps(Balancing):
    """Steps along common directions."""

    network: MultimodalNetwork
    heads: nn.ModuleDict
    loss: Loss
    gamma: float

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The heads."""
        return (self.heads,)

    def differentiate(self, inputs: Mapping[str, Any], targets: Any) -> Tensor:
        """Run backward from the joint loss, then from the sum of the others (no shared encoder)."""
        check_reached(self.network, MMPareto.name)
        ran = run(self.network, inputs, targets)
        joint = joint_loss(self.network, self.loss, ran.outputs, targets)
        alone = losses_alone(self.network, self.heads, self.loss, ran, targets)
        own = own_parameters(self.network)
        with gradients_apart(own[name] for name in alone):
            joint.backward(retain_graph=True)
            first = {name: taken(own[name]) for name in alone}
            torch.stack(list(alone.values())).sum().backward()
            for name, gradients in first.items():
                give(own[name], gradients, taken(own[name]), self.gamma)
        return joint.detach()


def taken(parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradients of parameters, and clear them."""
    found = [each.grad for each in parameters]
    for each in parameters:
        each.grad = None
    return found


def give(
    parameters: Sequence[nn.Parameter],
    joint: Sequence[Tensor | None],
    alone: Sequence[Tensor | None],
    gamma: float,
) -> None:
    """Set the gradients of one modality's parameters."""
    pairs = zip(parameters, joint, alone, strict=True)
    reached = [each for each in pairs if any(gradient is not None for gradient in each[1:])]
    if not reached:
        return
    own = [parameter for parameter, _, _ in reached]
    whole = gamma * common(
        together(own, [gradient for _, gradient, _ in reached]),
        together(own, [gradient for _, _, gradient in reached]),
    )  # (entries,)
    for each, part in zip(own, whole.split([each.numel() for each in own]), strict=True):
        each.grad = part.view_as(each).to(each.dtype, copy=True)


def together(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> Tensor:
    """Return gradients as one vector, ``(entries,)``, with zeros for missing ones.

    Raises:
        UserError: A gradient is sparse.
    """
    if any(each is not None and each.is_sparse for each in gradients):
        raise UserError(
            "mmpareto combines dense gradients, but an encoder has sparse ones: make its "
            "embeddings sparse=False"
        )
    pairs = zip(parameters, gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])


def common(joint: Tensor, alone: Tensor) -> Tensor:
    """Return a direction that opposes neither of two gradients, with the length of their sum.

    Args:
        joint: The gradient of the joint loss, ``(entries,)``.
        alone: The gradient of the modality's own loss, ``(entries,)``.

    Returns:
        ``(entries,)``: their sum, unless they oppose each other; zeros if exactly opposite.
    """
    exact = torch.promote_types(joint.dtype, torch.float32)
    g, u = joint.to(exact), alone.to(exact)
    first, second = g.norm(), u.norm()
    if not first or not second:
        return joint + alone
    g, u = g / first, u / second
    cosine = g @ u
    if cosine >= 0:
        return joint + alone
    if 1 - cosine**2 <= PARALLEL * torch.finfo(exact).eps:  # sin²
        return torch.zeros_like(joint)
    # The shortest combination up to a factor; its terms are all positive, since one gradient may be
    # tiny compared with the other.
    least = (second - cosine * first) * g + (first - cosine * second) * u
    found: Tensor = (first * g + second * u).norm() / least.norm() * least
    return found.to(joint.dtype)
