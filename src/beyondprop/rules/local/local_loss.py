"""Local losses with a head on every block."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from beyondprop.core import At, Block, LossRule, Traits
from beyondprop.projections import Projection, Redrawn
from beyondprop.registry import first_line
from beyondprop.registry.limits import Count
from beyondprop.rules.local.base import LOCAL, uncounted_classes
from beyondprop.rules.local.heads import Head, empty_head
from beyondprop.rules.local.objectives import Objective
from beyondprop.rules.local.similarity import PredSim

HEADS = LOCAL.but(
    averages=True,
    alone=(
        "its heads are not the model's, so their gradients are not averaged as the model's are; "
        "leave DistributedDataParallel out and use DataParallel(handle)"
    ),
)


@dataclass(frozen=True)
class LocalLoss(LossRule):
    """Local losses: every block lowers its own loss, computed by a small head on its output.

    ``∇_l = ∂ L_l(h_l, y) / ∂ θ_l`` with ``h_l = f_l(h_{l-1}; θ_l)`` and ``h_{l-1}`` detached, so
    blocks need not wait for one another's errors (Nøkland and Eidnes 2019; Belilovsky, Eickenberg
    and Oyallon 2019; Wang et al. 2021). What ``L_l`` is, is the objective's to say. The heads learn
    too, by the same loss: the optimizer must hold ``handle.parameters()``. The user's loss teaches
    the output block alone, and scaling it scales that block's gradient alone.

    Args:
        objective: What every block lowers.
        classes: How many classes there are; by default as many as the last layer has outputs.
        projection: Draws the weights that the heads begin with.
    """

    objective: Objective = field(default_factory=PredSim)
    classes: Count | None = None
    projection: Projection = field(default_factory=Redrawn, kw_only=True)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The objective's short name."""
        return self.objective.name

    @property
    def traits(self) -> Traits:  # type: ignore[override]
        """Whether it needs targets is the objective's to say."""
        if not self.objective.needs_targets:
            return HEADS
        return HEADS.but(needs=HEADS.needs | {"targets"}, counts_classes=self.classes is None)

    def start(self, block: Block) -> dict[str, Tensor]:
        """Return the parameters of the block's head."""
        return empty_head(block, self.objective.parameters(block.depth))

    def loss(self, at: At) -> Tensor:
        """Return the objective's value."""
        classes = self.classes or at.run.classes or 0
        return self.objective.loss(at, Head(at, self.projection), classes)

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence where the classes cannot be counted."""
        if self.objective.needs_targets:
            yield from uncounted_classes(self, block)

    @property
    def summary(self) -> str:
        """What the objective is, in a line."""
        return first_line(type(self.objective))
