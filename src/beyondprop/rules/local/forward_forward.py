"""Forward-forward."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.models.goodness import GoodnessNetwork, goodness
from beyondprop.rules.base import Rule
from beyondprop.rules.local.base import LocalRule, Passed

if TYPE_CHECKING:
    from beyondprop.engine.blocks import Block


@dataclass(frozen=True)
class ForwardForward(LocalRule):
    """Forward-forward: every block is active for right labels and calm for wrong ones.

    ``L_l = mean softplus((θ - G⁺_l) / T) + mean softplus((G⁻_l - θ) / T)`` with ``G_l`` the sum of
    the block's squared activities, ``θ`` a threshold for each unit times its units, ``⁺`` the true
    class in the input and ``⁻`` a wrong one (Hinton 2022, equation 1, where T is 1). All blocks
    learn so, also the last: nothing is learned from the loss at the output, which may be any. It
    teaches a `GoodnessNetwork`, whose scores ``(batch, k)`` are for ``k`` candidate classes, and
    ``handle.targets`` says which candidate is true: a class where all are scored.

    Args:
        threshold: Mean square activity between calm and active.
        temperature: T. At 1, hundreds of units make the loss so sharp that hardly any sample
            teaches.
    """

    name: ClassVar[str] = "ff"
    needs_targets: ClassVar[bool] = True
    threshold: float = 1.0
    temperature: float = 20.0

    def loss(self, passed: Passed) -> Tensor:
        """Return the loss of all candidates, true ones and wrong ones weighing the same."""
        true = _true(passed)
        sharpness = passed.output[0].numel() / self.temperature
        scores = (goodness(passed.output) - self.threshold).view(true.shape) * sharpness
        return F.softplus(-scores[true]).mean() + F.softplus(scores[~true]).mean()

    def problems(self, block: "Block") -> Iterator[str]:
        """Yield a sentence where the model does not classify by goodness."""
        if not isinstance(block.owner, GoodnessNetwork):
            yield (
                f"ForwardForward teaches a GoodnessNetwork, not a {type(block.owner).__name__}: "
                "give its hidden layers to GoodnessNetwork(blocks, FirstPixels(classes))"
            )

    def at_output(self) -> Rule:
        """Return this rule: the last block has no other teacher either."""
        return self


def _true(passed: Passed) -> Tensor:
    """Return which of ``(batch, k)`` candidates are true, as booleans."""
    targets, rows = passed.targets, len(passed.output)
    assert targets is not None
    if targets.dim() != 1 or targets.is_floating_point() or rows % max(1, len(targets)):
        raise UserError(
            f"ForwardForward needs the number of the true candidate for each sample, not targets "
            f"of shape {tuple(targets.shape)} for {rows} samples with labels"
        )
    candidates = torch.arange(rows // len(targets), device=passed.output.device)
    if len(candidates) < 2:
        raise UserError(
            "ForwardForward compares right labels with wrong ones: give every sample two "
            "candidates at least"
        )
    targets = targets.to(candidates.device)
    # Without its true candidate a sample would teach that all are wrong.
    if not torch.compiler.is_compiling() and bool(
        (targets.min() < 0) | (targets.max() >= len(candidates))
    ):
        raise UserError(
            f"targets run from {int(targets.min())} to {int(targets.max())}, but every sample has "
            f"{len(candidates)} candidates, counted from 0: give the number of the true one"
        )
    return candidates == targets.unsqueeze(1)
