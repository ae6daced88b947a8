"""The Kolen-Pollack rule."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from beyondprop._torch.modules import is_made
from beyondprop.core import AtWeight, Block, LayerRule, Traits
from beyondprop.errors import UserError
from beyondprop.layers import feedback_class
from beyondprop.projections import Dense, Projection
from beyondprop.rules.layerwise.random import drawn


@dataclass(frozen=True)
class KolenPollack(LayerRule):
    """Kolen-Pollack: the feedback begins random and gets the same updates as the weights.

    ``ΔW = -η δ_{l+1} x_lᵀ - λ W`` and ``ΔB = -η δ_{l+1} x_lᵀ - λ B``: both updates use the same two
    local signals, so ``W - B`` is multiplied by ``1 - λ`` in each step, and the feedback converges
    to the weight without access to it (Kolen and Pollack 1994; Akrout et al. 2019, equations 16 and
    17). Initially ``B`` has the norm of ``W``, as if both were drawn from one distribution.
    The optimizer makes both updates, so it must hold ``handle.parameters()`` too, and its weight
    decay is λ: without weight decay the distance between ``B`` and ``W`` does not change.
    """

    name: ClassVar[str] = "kp"
    traits: ClassVar[Traits] = LayerRule.traits.but(
        drawn_once=frozenset({"projection"}),
        averages=True,
        alone=(
            "the gradient of its feedback is not averaged over processes, as its weights' is, and "
            "the two would drift apart; leave DistributedDataParallel out and use "
            "DataParallel(handle)"
        ),
    )
    projection: Projection = field(default_factory=Dense)

    def start(self, weight: Tensor, at: AtWeight) -> dict[str, Tensor]:
        """Return the initial random feedback, a parameter with the norm of the weight."""
        random = drawn(self.projection, weight, at, at.stream)
        size = weight.norm() / random.norm() if weight.any() else 1.0
        return {"feedback": nn.Parameter(random * size)}

    def feedback(self, weight: Tensor, at: AtWeight) -> Tensor:
        """Return the learned matrix; it learns only if the weight does.

        Raises:
            UserError: The weight is now computed from other parameters.
        """
        if is_made(at.layer, at.name):
            raise UserError(
                f"after the rule was attached, the weight of a {type(at.layer).__name__} was "
                "replaced by one computed from other parameters, so its feedback cannot get the "
                "same updates: undo this, or remove() the rules"
            )
        matrix = at.state["feedback"]
        return (matrix if at.weight().requires_grad else matrix.detach()).to(weight.dtype)

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence for each layer that it cannot teach."""
        for name, module in block.named_modules():
            covered: Any = feedback_class(type(module))
            if covered is None or self.keeps_exact(name):
                continue
            if any(is_made(module, own) for own in covered.inputs_of(module)):
                yield (
                    f"the weight of '{name}' is computed from other parameters (spectral_norm, "
                    "weight_norm, pruning), so its feedback cannot get the same updates: keep it "
                    f"exact with exact=('{name}',)"
                )


REGISTERED = (KolenPollack,)
