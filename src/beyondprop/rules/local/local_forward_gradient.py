"""The local forward gradient."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from beyondprop._torch.eager import eager
from beyondprop._torch.forward_mode import dual_level, make_dual
from beyondprop.core import At, Block, LossRule, Traits
from beyondprop.errors import UserError
from beyondprop.projections import Projection, Redrawn
from beyondprop.random.streams import stream_of
from beyondprop.registry.limits import Count
from beyondprop.rules.local.base import LOCAL, uncounted_classes
from beyondprop.rules.local.heads import Head, empty_head
from beyondprop.rules.local.objectives import IGNORED, CrossEntropy

TRAITS = LOCAL.but(
    needs=LOCAL.needs | {"targets"},
    counts_passes=True,
    alone=(
        "its heads are not part of the model, and every process would draw the same directions "
        "for different samples; use one process with the whole batch"
    ),
)


@dataclass(frozen=True)
class LocalForwardGradient(LossRule):
    """Local forward gradient: each block learns from the slope of its own loss along random noise.

    ``g_i = (∂ℓ_i/∂h_i · u_i) u_i`` replaces ``∂ℓ_i/∂h_i``, with ``ℓ_i`` the loss of sample ``i`` at
    a linear classifier on the block's output ``h_i``, and ``u_i ~ N(0, I)`` redrawn for every
    sample and pass; the slope is computed in forward mode through the classifier (Ren, Kornblith,
    Liao and Hinton 2023: activity perturbation and local greedy losses). The estimate is unbiased,
    and its variance grows with the width of the block, not with the number of weights. The
    classifier learns from its exact gradient, an outer product. Within the block the signal is
    backpropagated exactly.

    Args:
        objective: The loss on every block, without auxiliary layers.
        classes: Number of classes; by default the number of outputs of the last layer.
        projection: Draws the initial weights of the classifiers.
        noise: Draws the directions.
    """

    name: ClassVar[str] = "lfg"
    objective: CrossEntropy = field(default_factory=CrossEntropy)
    classes: Count | None = None
    projection: Projection = field(default_factory=Redrawn, kw_only=True)
    noise: Projection = field(default_factory=Redrawn, kw_only=True)

    def __post_init__(self) -> None:
        plain = type(self.objective) is CrossEntropy and self.objective.auxiliary is None
        if not plain:
            raise UserError(
                "LocalForwardGradient perturbs every sample separately and has one linear layer on "
                "each block: its objective must be CrossEntropy() without auxiliary layers"
            )
        super().__post_init__()

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        """The traits; ``counts_classes`` is set if no number of classes was given."""
        return TRAITS.but(counts_classes=self.classes is None)

    def start(self, block: Block) -> dict[str, Tensor]:
        """Return the parameters of the block's classifier."""
        return empty_head(block, self.objective.parameters(block.depth))

    def loss(self, at: At) -> Tensor:
        """Return the loss on the block, whose gradient at the block's output is the estimate."""
        losses, signal = self._perturbed(at)
        assert at.output is not None
        told = (at.output * signal).sum()
        return losses + (told - told.detach())

    # Not compiled: dual numbers would have to be traced.
    @eager
    def _perturbed(self, at: At) -> tuple[Tensor, Tensor]:
        """Return the mean loss, whose graph covers only the classifier, and the block's signal."""
        assert at.output is not None
        output = at.output.detach()
        stream = stream_of(f"{at.block.stream}, pass {at.run.number}")
        noise = self.noise.matrix(output.numel(), 1, stream, output).view(output.shape)
        classes = self.classes or at.run.classes or 0
        with dual_level():
            moved = replace(at, output=make_dual(output, noise))
            head = Head(at, self.projection)
            criterion, predicted, targets = self.objective.predicted(moved, head, classes)
            losses, slopes = unpack_dual(criterion.losses(predicted, targets))
        left_out = (targets == IGNORED).sum() if criterion.of_classes else 0
        known = torch.as_tensor(losses.numel() - left_out).clamp(min=1)  # none: nothing is taught
        assert slopes is not None
        slope = slopes.detach().flatten(1).sum(1) if slopes.dim() > 1 else slopes.detach()
        rows = noise.view(len(slope), -1) * (slope / known).to(noise.dtype).unsqueeze(1)
        return losses.sum() / known, rows.view(output.shape)

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence if the number of classes is unknown."""
        yield from uncounted_classes(self, block)


REGISTERED = (LocalForwardGradient,)
