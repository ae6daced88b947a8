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
        "its heads are not part of the model, so their gradients are not averaged; leave "
        "DistributedDataParallel out and use DataParallel(handle)"
    ),
)


@dataclass(frozen=True)
class LocalLoss(LossRule):
    """Local losses: every block minimises its own loss, computed by a small head on its output.

    ``∇_l = ∂ L_l(h_l, y) / ∂ θ_l`` with ``h_l = f_l(h_{l-1}; θ_l)`` and ``h_{l-1}`` detached, so
    blocks do not wait for one another's errors (Nøkland and Eidnes 2019; Belilovsky, Eickenberg and
    Oyallon 2019; Wang et al. 2021). The objective defines ``L_l``. The heads learn from the same
    loss, so the optimizer must hold ``handle.parameters()`` too. The user's loss teaches only the
    output block, and scaling it scales only that block's gradient.

    Args:
        objective: The loss of every block.
        classes: Number of classes; by default the number of outputs of the last layer.
        projection: Draws the initial weights of the heads.
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
        """The traits; the objective determines whether targets are needed."""
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
        """Yield a sentence if the number of classes is unknown."""
        if self.objective.needs_targets:
            yield from uncounted_classes(self, block)

    @property
    def summary(self) -> str:
        """The first line of the objective's documentation."""
        return first_line(type(self.objective))
