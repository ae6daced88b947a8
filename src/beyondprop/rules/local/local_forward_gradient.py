"""The local forward gradient."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from beyondprop._torch.eager import eager
from beyondprop._torch.forward_mode import dual_level, make_dual
from beyondprop.errors import UserError
from beyondprop.projections import Projection, Redrawn
from beyondprop.random.streams import stream_of
from beyondprop.rules.local.auxiliary import Plain
from beyondprop.rules.local.base import LocalRule, Passed
from beyondprop.rules.local.objectives import IGNORED, CrossEntropy


@dataclass(frozen=True)
class LocalForwardGradient(LocalRule):
    """Local forward gradient: each block learns by the slope of its own loss along random noise.

    ``g_i = (∂ℓ_i/∂h_i · u_i) u_i`` stands for ``∂ℓ_i/∂h_i``, with ``ℓ_i`` the loss of sample ``i``
    at a linear classifier on the block's output ``h_i``, and ``u_i ~ N(0, I)`` drawn anew for every
    sample and pass; the slope comes by forward mode through the classifier (Ren, Kornblith, Liao
    and Hinton 2023: activity perturbation and local greedy losses). The estimate has no bias, and
    its variance grows with the width of the block, not with the number of weights. The classifier
    itself learns by its exact gradient, an outer product, and within the block the signal goes on
    by the block's own derivative.

    Args:
        objective: The loss on every block, without auxiliary layers.
        classes: How many classes there are; by default as many as the last layer has outputs.
        noise: Draws the directions.
    """

    name: ClassVar[str] = "lfg"
    needs_targets: ClassVar[bool] = True
    alone: ClassVar[str] = (
        "its heads are not the model's, and every process would draw the same directions for other "
        "samples; use one process with the whole batch"
    )
    objective: CrossEntropy = field(default_factory=CrossEntropy)
    classes: int | None = None
    noise: Projection = field(default_factory=Redrawn, kw_only=True)

    def __post_init__(self) -> None:
        plain = type(self.objective) is CrossEntropy and self.objective.auxiliary == Plain()
        if not plain:
            raise UserError(
                "LocalForwardGradient perturbs every sample by itself and has one linear layer on "
                "each block: its objective is CrossEntropy() without auxiliary layers"
            )

    def loss(self, passed: Passed) -> Tensor:
        """Return the loss on the block, whose gradient at the block's output is the estimate."""
        output = passed.output
        losses, signal = self._perturbed(passed)
        told = (output * signal).sum()
        return losses + (told - told.detach())

    # Compiled, dual numbers would have to be traced.
    @eager
    def _perturbed(self, passed: Passed) -> tuple[Tensor, Tensor]:
        """Return the mean loss, with the classifier's graph alone, and the block's signal."""
        output = passed.output.detach()
        noise = self._noise(passed, output)
        with dual_level():
            moved = replace(
                passed, output=make_dual(output, noise), classes=self.classes or passed.classes
            )
            logits, targets = self.objective.logits(moved)
            losses, slopes = unpack_dual(F.cross_entropy(logits, targets, reduction="none"))
        known = (targets != IGNORED).sum().clamp(min=1)  # none, and nothing is taught
        assert slopes is not None
        slope = slopes.detach().flatten(1).sum(1) if slopes.dim() > 1 else slopes.detach()
        rows = noise.view(len(slope), -1) * (slope / known).to(noise.dtype).unsqueeze(1)
        return losses.sum() / known, rows.view(output.shape)

    def _noise(self, passed: Passed, output: Tensor) -> Tensor:
        """Return the directions of all samples, shaped like the output."""
        number = passed.attachment.memory.passes
        stream = stream_of(f"{passed.block.stream}, pass {number}")
        return self.noise.matrix(output.numel(), 1, stream, output).view(output.shape)

    def head_parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the classifier's parameters."""
        return self.objective.parameters(depth)

    def needs_classes(self) -> bool:
        """Whether the number of classes must be seen."""
        return self.classes is None
