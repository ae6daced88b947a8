"""PEPITA."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from beyondprop.core import Block, ModelCall, ModelResult, ModelRule, Traits
from beyondprop.projections import Dense, Projection
from beyondprop.random.streams import stream_of
from beyondprop.registry.limits import NotNegative
from beyondprop.rules.model.chain_pass import (
    Masks,
    autocast_of,
    chain_problems,
    only_input,
    places_of,
)
from beyondprop.rules.model.plain_chain import PlainChain
from beyondprop.rules.model.second_pass import SecondPass


@dataclass(frozen=True)
class PEPITA(ModelRule):
    """PEPITA: a second forward pass, on an input changed by the error, replaces the backward pass.

    ``h_l = f(W_l h_{l-1})`` with ``h_0 = x``, then ``hᵉ_l`` likewise with ``hᵉ_0 = x + F e``, where
    ``e`` is the output error of one sample and ``F`` a fixed random matrix. Gradients are the means
    of ``(h_l - hᵉ_l) (hᵉ_{l-1})ᵀ`` and, for the last layer, of ``e (hᵉ_{L-1})ᵀ`` (Dellaferrera and
    Kreiman 2022, algorithm 1). Gradients of convolutions are means over the positions too. The
    networks of the paper have no biases; here a bias is a weight whose input is 1. The loss must be
    a mean over the rows of the batch: the error is multiplied by the number of rows to obtain that
    of the paper.

    Args:
        scale: Scale of ``F``, whose entries have the standard deviation ``scale √(2/n)`` for ``n``
            inputs, as in the paper, where they are uniform up to ``scale √(6/n)``.
        projection: Draws ``F``.
    """

    name: ClassVar[str] = "pepita"
    traits: ClassVar[Traits] = ModelRule.traits.but(scales_with_loss=False)
    projection: Projection = field(default_factory=Dense)
    scale: NotNegative = 0.05

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence if the model is not a plain chain."""
        yield from chain_problems("PEPITA", block)

    def forward(self, call: ModelCall) -> ModelResult:
        """Run the first pass."""
        x = only_input("PEPITA", call)
        chain, masks = PlainChain.of(call.model), Masks()
        states = list(chain.walk(x, lambda layer, x: layer(x), masks.draw))
        activities = [state.activity for state in states]
        places, count = places_of(chain, call), len(call.parameters)
        cast, axes = autocast_of(x), call.run.axes
        second = SecondPass(self.modulation, chain, places, masks, count, cast, axes)
        return ModelResult(
            activities[-1], [activities[-1]], [x, *activities[:-1]], second.gradients
        )

    def modulation(self, error: Tensor, features: int) -> Tensor:
        """Return ``F e``, ``(rows, features)``, for errors ``(rows, outputs)``."""
        stream = self.projection.stream(stream_of(""))
        return self.projection.project(error, features, stream) * (self.scale * 2**0.5)


REGISTERED = (PEPITA,)
