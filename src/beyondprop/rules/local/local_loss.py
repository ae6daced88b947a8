"""Local losses with a head on every block."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from beyondprop.registry import first_line
from beyondprop.rules.local.base import LocalRule, Passed
from beyondprop.rules.local.objectives import Objective
from beyondprop.rules.local.similarity import PredSim


@dataclass(frozen=True)
class LocalLoss(LocalRule):
    """Local losses: every block lowers a loss of its own, by a small head that stands on it.

    ``∇_l = ∂ L_l(h_l, y) / ∂ θ_l`` with ``h_l = f_l(h_{l-1}; θ_l)`` and ``h_{l-1}`` detached, so
    blocks need not wait for one another's errors (Nøkland and Eidnes 2019; Belilovsky, Eickenberg
    and Oyallon 2019; Wang et al. 2021). What ``L_l`` is, is the objective's to say. The heads learn
    too, by the same loss: the optimizer must hold ``handle.parameters()``. The user's loss teaches
    the output block alone, and scaling it scales that block's gradient alone.

    Args:
        objective: What every block lowers.
        classes: How many classes there are; by default as many as the last layer has outputs.
    """

    alone: ClassVar[str] = (
        "its heads are not the model's, so their gradients are not averaged as the model's are; "
        "leave DistributedDataParallel out and use DataParallel(handle)"
    )
    averages: ClassVar[bool] = True
    objective: Objective = field(default_factory=PredSim)
    classes: int | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """The objective's short name."""
        return self.objective.name

    @property
    def needs_targets(self) -> bool:  # type: ignore[override]
        """Whether the objective needs targets."""
        return self.objective.needs_targets

    def loss(self, passed: Passed) -> Tensor:
        """Return the objective's value."""
        return self.objective.loss(replace(passed, classes=self.classes or passed.classes))

    def head_parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the objective's parameters."""
        return self.objective.parameters(depth)

    def needs_classes(self) -> bool:
        """Whether the objective has a classifier."""
        return self.classes is None and self.objective.needs_targets

    @property
    def summary(self) -> str:
        """What the objective is, in a line."""
        return first_line(type(self.objective))
