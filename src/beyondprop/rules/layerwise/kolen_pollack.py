"""The Kolen-Pollack rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from beyondprop.layers import OPERATIONS
from beyondprop.rules.layerwise.feedback_alignment import FeedbackAlignment

if TYPE_CHECKING:
    from beyondprop.engine.blocks import Block
    from beyondprop.layers.feedback import Feedback


@dataclass(frozen=True)
class KolenPollack(FeedbackAlignment):
    """Kolen-Pollack: the feedback begins random and gets the same updates as the weights.

    ``ΔW = -η δ_{l+1} x_lᵀ - λ W`` and ``ΔB = -η δ_{l+1} x_lᵀ - λ B``: both changes are made of the
    same two local signals, so ``W - B`` decays by ``1 - λ`` a step and the feedback becomes the
    weight without ever seeing it (Kolen and Pollack 1994; Akrout et al. 2019, equations 16 and 17).
    ``B`` begins as large as ``W``, as if both were drawn from one distribution.
    The optimizer makes both updates, so it must hold ``handle.parameters()`` too, and its weight
    decay is λ: without any, ``B`` keeps the same distance from ``W``.
    """

    name: ClassVar[str] = "kp"
    begins: ClassVar[frozenset[str]] = frozenset({"projection"})
    alone: ClassVar[str] = (
        "the gradient of its feedback is not averaged over processes, as its weights' is, and the "
        "two would drift apart; leave DistributedDataParallel out and use DataParallel(handle)"
    )
    averages: ClassVar[bool] = True

    def start(self, weight: Tensor, layer: "Feedback") -> dict[str, Tensor]:
        """Return the random feedback to begin with, a parameter as large as the weight."""
        random = self.random(weight, layer, layer.stream)
        size = weight.norm() / random.norm() if weight.any() else 1.0
        return {"feedback": nn.Parameter(random * size)}

    def feedback(self, weight: Tensor, layer: "Feedback") -> Tensor:
        """Return the learned matrix; it learns where the weight does."""
        matrix = layer.state["feedback"]
        return (matrix if layer.owner().requires_grad else matrix.detach()).to(weight.dtype)

    def problems(self, block: "Block") -> Iterator[str]:
        """Yield a sentence for each layer that it cannot teach."""
        yield from super().problems(block)
        for name, module in block.named_modules():
            weight = getattr(module, "weight", None)
            made = isinstance(weight, Tensor) and not isinstance(weight, nn.Parameter)
            if type(module) in OPERATIONS and made and not self.keeps_exact(name):
                yield (
                    f"the weight of '{name}' is made from other parameters (spectral_norm, "
                    "weight_norm, pruning), so its feedback cannot get the same updates: keep it "
                    f"exact, by exact=('{name}',)"
                )
