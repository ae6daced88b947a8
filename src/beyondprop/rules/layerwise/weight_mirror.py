"""The weight mirror."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop._torch.finite import finite_or
from beyondprop._torch.spread import is_spread
from beyondprop.core import AtWeight, LayerRule, Traits
from beyondprop.errors import UserError
from beyondprop.projections import Dense, Projection, Redrawn
from beyondprop.random.streams import stream_of
from beyondprop.registry.limits import Count, PositiveShare
from beyondprop.rules.layerwise.random import drawn


@dataclass(frozen=True)
class WeightMirror(LayerRule):
    """Weight mirror: between batches the feedback learns from each layer's response to noise.

    In mirror mode a layer's input is noise ``ξ`` with mean 0 and variance 1, its output is
    ``y = W ξ``, and the feedback follows their product: ``B ← (1 - λ) B + η y ξᵀ`` (Akrout, Wilson,
    Humphreys, Lillicrap and Tweed 2019, equation 7, with weight decay). As the mean of ``y ξᵀ`` is
    ``W``, the mean of ``B`` is ``W`` too after about ``1/λ`` batches if ``η = λ``. In a convolution
    a noise sample is one patch. A mirror phase runs once before each forward pass in training mode,
    and 1/λ times before the first, with ``λ = η = 1/t`` in the t-th phase: a plain mean, which
    removes the random initial values.

    Args:
        decay: λ; the smaller it is, the less noisy the feedback, and the slower it follows the
            weights.
        samples: Number of noise samples per layer in a mirror phase.
        noise: Draws the noise.
    """

    name: ClassVar[str] = "wm"
    traits: ClassVar[Traits] = LayerRule.traits.but(
        drawn_once=frozenset({"projection"}), counts_passes=True
    )
    projection: Projection = field(default_factory=Dense)
    decay: PositiveShare = 0.25
    samples: Count = 64
    noise: Projection = field(default_factory=Redrawn)

    def start(self, weight: Tensor, at: AtWeight) -> dict[str, Tensor]:
        """Return the initial random feedback, and the number of the last mirrored pass."""
        random = drawn(self.projection, weight, at, at.stream)
        return {"feedback": random, "pass": torch.tensor(-1)}

    @eager
    def feedback(self, weight: Tensor, at: AtWeight) -> Tensor:
        """Return the mirrored weight, mirrored once in each pass.

        Raises:
            UserError: The weight is sharded over processes while the layer runs.
        """
        if is_spread(weight):
            raise UserError(
                "WeightMirror needs complete weights, but tensor parallelism has sharded one over "
                "processes: leave parallelize_module out, or use FeedbackAlignment"
            )
        last = int(at.state["pass"])
        if last != at.mode.number:
            at.state["pass"] = torch.tensor(at.mode.number)
            for phase in range(round(1 / self.decay) if last < 0 else 0):
                self._mirror(weight, at, phase, 1 / (phase + 1))
            self._mirror(weight, at, -1, self.decay)
        return at.state["feedback"].to(weight.dtype)

    def _mirror(self, weight: Tensor, at: AtWeight, phase: int, decay: float) -> None:
        before = at.state["feedback"].flatten(1)
        rows = weight.flatten(1).to(before.dtype)
        stream = stream_of(f"{at.stream}, pass {at.mode.number}, phase {phase}")
        noise = self.noise.matrix(self.samples, rows.shape[1], stream, rows)
        variance = 1 / rows.shape[1]  # of a projection's entries
        with torch.autocast(rows.device.type, enabled=False):  # a mean of many small steps
            answer = (noise @ rows.t()).mul_(decay / (self.samples * variance))
            # A new tensor each time, as an open graph may still use the previous one.
            mirrored = torch.addmm(before, answer.t(), noise, beta=1 - decay)
        at.state["feedback"] = finite_or(mirrored, before).view(weight.shape)


REGISTERED = (WeightMirror,)
