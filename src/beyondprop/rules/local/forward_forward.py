"""Forward-forward."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.core import At, Block, LossRule, Traits
from beyondprop.errors import UserError
from beyondprop.models.goodness import GoodnessNetwork, goodness
from beyondprop.registry.limits import NotNegative, Positive
from beyondprop.rules.local.base import LOCAL


@dataclass(frozen=True)
class ForwardForward(LossRule):
    """Forward-forward: every block is active for right labels and calm for wrong ones.

    ``L_l = mean softplus((θ - G⁺_l) / T) + mean softplus((G⁻_l - θ) / T)`` with ``G_l`` the sum of
    the block's squared activities, ``θ`` the threshold per unit times the number of units, ``⁺``
    the true class in the input and ``⁻`` a wrong one (Hinton 2022, equation 1, where T is 1). All
    blocks learn this way, including the last: the loss at the output teaches nothing, so any loss
    can be used. The model must be a `GoodnessNetwork`, whose scores ``(batch, k)`` are for ``k``
    candidate classes. ``handle.targets`` gives the number of the true candidate, which is the class
    if all classes are scored.

    Args:
        threshold: Mean square activity that separates calm and active blocks.
        temperature: T. At 1, hundreds of units make the loss so sharp that hardly any sample
            teaches.
    """

    name: ClassVar[str] = "ff"
    traits: ClassVar[Traits] = LOCAL.but(
        needs=LOCAL.needs | {"targets"}, exact_at_output=False, drawn_once=frozenset()
    )
    threshold: NotNegative = 1.0
    temperature: Positive = 20.0

    def loss(self, at: At) -> Tensor:
        """Return the loss of all candidates; true and wrong ones have the same total weight."""
        true = _true(at)
        assert at.output is not None
        sharpness = at.output[0].numel() / self.temperature
        scores = (goodness(at.output) - self.threshold).view(true.shape) * sharpness
        return F.softplus(-scores[true]).mean() + F.softplus(scores[~true]).mean()

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence if the model does not classify by goodness."""
        if not isinstance(block.owner, GoodnessNetwork):
            yield (
                f"ForwardForward teaches a GoodnessNetwork, not a {type(block.owner).__name__}: "
                "give its hidden layers to GoodnessNetwork(blocks, FirstPixels(classes))"
            )


def _true(at: At) -> Tensor:
    """Return a mask ``(batch, k)`` of the true candidates."""
    targets, rows = at.run.targets, at.shape[0]
    assert targets is not None
    if targets.dim() != 1 or targets.is_floating_point() or rows % max(1, len(targets)):
        raise UserError(
            f"ForwardForward needs the number of the true candidate for each sample, not targets "
            f"of shape {tuple(targets.shape)} for {rows} samples with labels"
        )
    candidates = torch.arange(rows // len(targets), device=at.device)
    if len(candidates) < 2:
        raise UserError(
            "ForwardForward compares right labels with wrong ones: give every sample at least two "
            "candidates"
        )
    targets = targets.to(candidates.device)
    # A sample without its true candidate would teach that all are wrong.
    if not torch.compiler.is_compiling() and bool(
        (targets.min() < 0) | (targets.max() >= len(candidates))
    ):
        raise UserError(
            f"targets run from {int(targets.min())} to {int(targets.max())}, but every sample has "
            f"{len(candidates)} candidates, counted from 0: give the number of the true one"
        )
    return candidates == targets.unsqueeze(1)


REGISTERED = (ForwardForward,)
