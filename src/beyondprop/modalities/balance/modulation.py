"""On-the-fly gradient modulation: the leading modality learns more slowly."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.engine.attach import attachment_of
from beyondprop.errors import UserError
from beyondprop.modalities.balance.base import Balance, Balancing, Loss
from beyondprop.modalities.balance.steps import (
    Pass,
    gradients_apart,
    joint_loss,
    own_parameters,
    rows_of,
    run,
)
from beyondprop.modalities.network import MultimodalNetwork
from beyondprop.registry.limits import NotNegative, Positive


@dataclass(frozen=True)
class GradientModulation(Balance):
    """Scales down the gradients of the leading modality, and adds noise (OGM-GE).

    Peng, Wei, Deng, Wang and Hu, "Balanced multimodal learning via on-the-fly gradient modulation",
    CVPR 2022. A modality's score is the mean probability that this modality alone gives the true
    class, ``s_m = mean_i softmax(o_m(x_i))[y_i]``; its lead over the others is
    ``ρ_m = s_m / mean_{n≠m} s_n``. After the backward pass each of its gradients becomes

    ``g ← k_m g + noise σ(g) ε``, with ``k_m = 1 - tanh(α ρ_m)`` where ``ρ_m > 1``, else 1.

    PyTorch's global generator draws ``ε`` from a standard normal distribution; ``σ(g)`` is the
    standard deviation over the entries of one parameter's gradient.

    Differences from the paper and its released code:

    - The paper and its released code treat two modalities, where ``ρ`` is the ratio of two scores.
      The mean of the others is our generalisation to more.
    - ``o_m`` is the network's own output with all other modalities masked. With a linear head on a
      `Concatenation` that is ``W_m z_m + b``; the paper splits the bias between its two modalities,
      ``W_m z_m + b/2``, which is not defined for heads that are not linear.
    - Released code scales only gradients with four dimensions, so linear, recurrent and attention
      layers are not affected. Here all parameters of a modality are modulated, as in the paper's
      equations: those of its encoder and of its projection, including biases.
    - The paper draws the noise with the covariance of the gradient over samples, but does not say
      how that is computed. Like the released code, we use the standard deviation over a tensor's
      entries. A parameter with one entry gets no noise.
    - Released code modulates only in a number of first epochs, set on its command line.

    Batch norm and dropout in the fusion and the head are in eval mode while scores are computed.
    Scores are means over the samples that have a modality; a modality that no sample has is left
    out. Under a rule other than backprop, the gradients that the rule computes are scaled; the
    rule's own parameters (feedback, local heads) are not modulated.

    Args:
        alpha: How strongly a leading modality is slowed down.
        noise: The size of the noise in standard deviations; 0 is OGM without GE.
    """

    name: ClassVar[str] = "gradient-modulation"
    alpha: Positive = 0.5
    noise: NotNegative = 1.0

    def begin(self, network: MultimodalNetwork, heads: nn.ModuleDict, loss: Loss) -> Balancing:
        """Return steps with modulated gradients; the heads are not used.

        Raises:
            UserError: The network has one modality, or parameters are shared.
        """
        del heads
        if len(network.modalities) < 2:
            raise UserError(
                f"gradient-modulation compares modalities, and there is only "
                f"'{network.modalities[0]}': train by Joint"
            )
        own_parameters(network)
        return ModulatedSteps(network, loss, self)


@dataclass(frozen=True)
class ModulatedSteps(Balancing):
    """Steps with modulated gradients."""

    network: MultimodalNetwork
    loss: Loss
    how: GradientModulation

    def differentiate(self, inputs: Mapping[str, Any], targets: Any) -> Tensor:
        """Run one backward pass, and scale what it adds to the gradients of each modality.

        Raises:
            UserError: Targets are not classes, fewer than two modalities are given, or the network
                learns under a schedule, which steps before gradients can be scaled.
        """
        check_gradients(self.network)
        ran = run(self.network, inputs, targets)
        check_classes(ran.outputs, targets)
        if len(ran.hidden) < 2:
            raise UserError(
                "gradient-modulation compares modalities, and this batch has only "
                f"{', '.join(ran.hidden)}: give at least two, or train with Joint"
            )
        factors = coefficients(scores(self.network, ran, targets), self.how.alpha)
        own = own_parameters(self.network)
        with gradients_apart(own.values()):
            loss = joint_loss(self.network, self.loss, ran.outputs, targets)
            loss.backward()
            for name, factor in factors.items():
                modulate(own[name], factor, self.how.noise)
        return loss.detach()


def check_gradients(network: MultimodalNetwork) -> None:
    """Raise if a schedule consumes the gradients during the backward pass."""
    attachment = attachment_of(network)
    if attachment is not None and attachment.schedule is not None:
        raise UserError(
            "gradient-modulation scales gradients after the backward pass, but the blocks learn by "
            f"the schedule {type(attachment.schedule).__name__}: call handle.follow(None)"
        )


def check_classes(outputs: Any, targets: Any) -> None:
    """Raise unless outputs and targets are those of a classifier, which scores require."""
    fits = (
        isinstance(outputs, Tensor)
        and outputs.dim() == 2
        and outputs.shape[1] > 1
        and isinstance(targets, Tensor)
        and targets.shape == outputs.shape[:1]
        and targets.dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    )
    if not fits:
        found = [
            f"{each.dtype} {tuple(each.shape)}" if isinstance(each, Tensor) else type(each).__name__
            for each in (outputs, targets)
        ]
        raise UserError(
            "gradient-modulation scores modalities by the probability of the true class, so "
            "outputs must be (batch, classes) and targets class numbers (batch,), not "
            f"{found[0]} and {found[1]}: train by Joint, MMPareto or GradientBlending"
        )


@torch.no_grad()
def scores(network: MultimodalNetwork, ran: Pass, targets: Tensor) -> dict[str, float]:
    """Return the mean probability that each modality alone gives the true class.

    Args:
        network: The network.
        ran: Its forward pass, whose features are reused.
        targets: Class numbers, ``(batch,)``.

    Returns:
        The score of each modality that any sample has.
    """
    found = {}
    with evaluating(network.fusion, network.head):
        for name, rows in ran.having(network).items():
            hidden = {name: rows_of(ran.hidden[name].detach(), rows)}
            alone = torch.zeros_like(ran.present[rows])  # (rows, modalities)
            alone[:, network.modalities.index(name)] = True
            outputs = network.head(network.fusion(hidden, alone))  # (rows, classes)
            exact = torch.promote_types(outputs.dtype, torch.float32)  # as a mean needs
            chances = outputs.to(exact).softmax(1)
            true = chances.gather(1, rows_of(targets, rows)[:, None].long())
            found[name] = true.mean().item()
    return found


def coefficients(scores: Mapping[str, float], alpha: float) -> dict[str, float]:
    """Return the factor for the gradients of each modality.

    Args:
        scores: The score of each modality, none negative.
        alpha: How strongly a leading modality is slowed down.

    Returns:
        Factors from 0 (only through rounding) to 1; 1 for the lowest score, or for one modality.
    """
    total, found = sum(scores.values()), {}
    for name, score in scores.items():
        others = (total - score) / max(len(scores) - 1, 1)
        ahead = score / max(others, sys.float_info.min) if len(scores) > 1 else 1.0
        falls = math.exp(-2 * alpha * ahead)  # 1 - tanh(x), without the loss of digits
        found[name] = 2 * falls / (1 + falls) if ahead > 1 else 1.0
    return found


@torch.no_grad()
def modulate(parameters: Iterable[nn.Parameter], factor: float, noise: float) -> None:
    """Scale gradients in place, and add noise in proportion to their original deviation.

    Raises:
        UserError: Noise would be added to a sparse gradient.
    """
    for each in parameters:
        gradient = each.grad
        if gradient is None:
            continue
        if noise and gradient.is_sparse:
            raise UserError(
                "gradient-modulation adds noise to every entry, but an encoder has sparse "
                "gradients: make its embeddings sparse=False, or set noise=0"
            )
        if noise and gradient.numel() > 1:
            added = torch.randn_like(gradient) * (noise * gradient.std())
            gradient.mul_(factor).add_(added)
        else:
            gradient.mul_(factor)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into eval mode, so that they draw nothing and update no running means."""
    modes = [(each, each.training) for module in modules for each in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode
