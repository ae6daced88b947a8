"""Synaptic intelligence: protects weights according to how much their paths lowered the loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.continual.memory import size_of
from beyondprop.continual.methods.base import Learner, Learning, Method, check_weights, learned
from beyondprop.continual.methods.consolidation import pull
from beyondprop.continual.streams import Experience
from beyondprop.engine.attachment import Attachment
from beyondprop.registry import check_fields
from beyondprop.registry.limits import NotNegative, Positive


@dataclass(frozen=True)
class SynapticIntelligence(Method):
    """Zenke, Poole and Ganguli, "Continual learning through synaptic intelligence", ICML 2017.

    It adds ``strength Σ_i Ω_i (θ_i - θ*_i)²`` to the loss (equation 4). After each experience,
    ``Ω_i`` increases by ``max(ω_i, 0) / (Δ_i² + damping)`` (equation 5): ``ω_i`` is the sum over
    steps of ``-g_i δθ_i`` (equation 3), ``g_i`` the gradient of the batch's own loss under the
    rule, ``Δ_i`` the total change of the weight in the experience. The paper allows negative ``ω``;
    like the released code of mammoth, this implementation cuts it off at zero, so that no weight is
    pushed away.

    Args:
        strength: c.
        damping: ξ.
    """

    name: ClassVar[str] = "si"
    strength: NotNegative = 0.5
    damping: Positive = 1e-3

    def __post_init__(self) -> None:
        check_fields(self)

    def start(self, learning: Learning) -> Learner:
        """Return a learner that tracks the path of each weight.

        Raises:
            UserError: The model is a slot machine.
        """
        check_weights(self.name, learning.model)
        return IntelligentLearner(self, learning)


@dataclass
class IntelligentLearner(Learner):
    """See `SynapticIntelligence`.

    Attributes:
        importance: Ω, by parameter.
        anchor: ``θ*``, by parameter: the weights at the start of the experience.
        path: ω, by parameter.
        last: The weights and the gradient at the last step, by parameter.
    """

    method: SynapticIntelligence
    learning: Learning
    importance: dict[str, Tensor] = field(default_factory=dict)
    anchor: dict[str, Tensor] = field(default_factory=dict)
    path: dict[str, Tensor] = field(default_factory=dict)
    last: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.learning.model

    @property
    def bits(self) -> int:
        """Size of the stored weights, their importance and their paths."""
        return size_of(self.importance) + size_of(self.anchor) + size_of(self.path)

    def begin(self, experience: Experience) -> None:
        """Start the paths at the current weights."""
        del experience
        self.anchor = {name: p.detach().clone() for name, p in learned(self.model).items()}
        self.path = {name: torch.zeros_like(p) for name, p in self.anchor.items()}
        self.last = {}

    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Learn the batch, update the paths, and pull weights towards their earlier values."""
        self._follow()
        loss = self.learning.loss(self.learning.forward(handle, inputs, targets), targets)
        loss.backward()
        self.last = {
            name: (p.detach().clone(), p.grad.clone())
            for name, p in learned(self.model).items()
            if p.grad is not None
        }
        return loss.detach() + pull(self.model, self.importance, self.anchor, self.method.strength)

    @torch.no_grad()
    def _follow(self) -> None:
        """Add the contribution of the last step to the paths."""
        known = learned(self.model)
        for name, (before, gradient) in self.last.items():
            self.path[name] -= gradient * (known[name] - before)

    @torch.no_grad()
    def end(self, experience: Experience) -> None:
        """Convert the paths to importance."""
        del experience
        self._follow()
        for name, parameter in learned(self.model).items():
            far = (parameter - self.anchor[name]).square() + self.method.damping
            earlier = self.importance.get(name, torch.zeros_like(parameter))
            self.importance[name] = earlier + self.path[name].clamp(min=0) / far
        self.last = {}
