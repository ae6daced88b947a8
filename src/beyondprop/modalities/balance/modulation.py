"""On-the-fly gradient modulation: the modality that is ahead learns more slowly."""

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
    """Gradients of the modality that is ahead are made smaller, and noise is added (OGM-GE).

    Peng, Wei, Deng, Wang and Hu, "Balanced multimodal learning via on-the-fly gradient modulation",
    CVPR 2022. A modality's score is the mean probability of the true class by that modality alone,
    ``s_m = mean_i softmax(o_m(x_i))[y_i]``; how far it is ahead of the others is
    ``ρ_m = s_m / mean_{n≠m} s_n``. Behind the backward pass each of its gradients becomes

    ``g ← k_m g + noise σ(g) ε``, with ``k_m = 1 - tanh(α ρ_m)`` where ``ρ_m > 1``, else 1.

    ``ε`` is of a standard normal distribution, drawn by PyTorch's global generator, and ``σ(g)``
    the standard deviation over the entries of the gradient of one parameter.

    What differs, and from what:

    - The paper and its released code treat two modalities, where ``ρ`` is the ratio of two scores.
      The mean of the others is our generalization to more.
    - ``o_m`` is the network's own output where all other modalities are masked. With a linear head
      on a `Concatenation` that is ``W_m z_m + b``; the paper splits the bias between its two
      modalities, ``W_m z_m + b/2``, which says nothing for heads that are not linear.
    - Released code scales the gradients that have four dimensions, and so does nothing to linear,
      recurrent or attention layers. Here all parameters of a modality are modulated, as the paper's
      equations say: those of its encoder and of its projection, with biases.
    - The paper draws the noise with the covariance of the gradient over samples, but does not say
      how that is found. Released code takes the standard deviation over a tensor's entries, and so
      do we. A parameter of one entry gets no noise.
    - Released code modulates in the first epochs only, which are an option of its command line.

    Of the network a batch norm or dropout in fusion and head is in eval mode while scores are
    taken. Scores are means over the samples that have a modality; a modality that no sample has is
    left out. Under a rule other than backprop, gradients are scaled as the rule made them; what a
    rule learns for itself (feedback, local heads) is not modulated.

    Args:
        alpha: How strongly a modality that is ahead is held back.
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
        """Go back once, and scale what that adds to the gradients of each modality.

        Raises:
            UserError: Targets are no classes, fewer than two modalities are given, or the network
                learns under a schedule, whose steps are done before gradients can be scaled.
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
    """See that gradients are there behind the backward pass."""
    attachment = attachment_of(network)
    if attachment is not None and attachment.schedule is not None:
        raise UserError(
            "gradient-modulation scales gradients after the backward pass, but the blocks learn by "
            f"the schedule {type(attachment.schedule).__name__}: call handle.follow(None)"
        )


def check_classes(outputs: Any, targets: Any) -> None:
    """See that the scores of modalities, which are probabilities of classes, can be taken."""
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
    """Return the mean probability of the true class by each modality alone.

    Args:
        network: That ran.
        ran: Its pass, whose features are used.
        targets: Class numbers, ``(batch,)``.

    Returns:
        Of each modality that any sample has.
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
    """Return by how much the gradients of each modality are multiplied.

    Args:
        scores: Of each modality, none below zero.
        alpha: How strongly a modality that is ahead is held back.

    Returns:
        From 0 (where rounding makes it so) to 1; 1 for the lowest score. With one modality, 1.
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
    """Scale gradients in place, and add noise as large as they were.

    Raises:
        UserError: Noise is to be added to a sparse gradient.
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
    """Have modules in eval mode inside, so that nothing is drawn and no running mean moves."""
    modes = [(each, each.training) for module in modules for each in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode
