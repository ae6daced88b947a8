"""Elastic weight consolidation: protects the weights that earlier tasks depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.continual.memory import size_of
from beyondprop.continual.methods.base import (
    Learner,
    Learning,
    Method,
    add_gradient,
    check_logits,
    check_weights,
    learned,
)
from beyondprop.continual.streams import Experience
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import untouched
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count, NotNegative, Share
from beyondprop.tasks import Samples, call


@dataclass(frozen=True)
class ElasticConsolidation(Method):
    """Online elastic weight consolidation.

    It adds ``strength/2 Σ_i F_i (θ_i - θ*_i)²`` to the loss: ``θ*`` are the weights after the last
    experience, and ``F`` is the diagonal of the Fisher information, summed over experiences, where
    each experience multiplies the earlier sum by ``decay`` (Kirkpatrick et al. 2017, equation 3;
    online: Schwarz et al., "Progress and compress", ICML 2018, section 3.2). ``F_i`` is the mean
    over training samples of the squared gradient of the log likelihood, for labels sampled from the
    model; the released code of mammoth uses the labels of the data instead.

    The gradient of this term is added to the weights directly, whatever rule trains the model, and
    ``F`` is computed from exact gradients.

    Args:
        strength: λ.
        decay: γ, the factor for earlier experiences.
        samples: Maximum number of training samples for estimating ``F``.
    """

    name: ClassVar[str] = "ewc"
    strength: NotNegative = 100.0
    decay: Share = 1.0
    samples: Count = 500

    def __post_init__(self) -> None:
        check_fields(self)

    def start(self, learning: Learning) -> Learner:
        """Return a learner that stores weights and their importance.

        Raises:
            UserError: The model is a slot machine.
        """
        check_weights(self.name, learning.model)
        return ElasticLearner(self, learning)


@dataclass
class ElasticLearner(Learner):
    """See `ElasticConsolidation`.

    Attributes:
        importance: ``F``, by parameter.
        anchor: ``θ*``, by parameter.
    """

    method: ElasticConsolidation
    learning: Learning
    importance: dict[str, Tensor] = field(default_factory=dict)
    anchor: dict[str, Tensor] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.learning.model

    @property
    def bits(self) -> int:
        """Size of the stored weights and their importance."""
        return size_of(self.importance) + size_of(self.anchor)

    def differentiate(self, handle: Attachment, inputs: Any, targets: Any) -> Tensor:
        """Learn the batch, and pull weights towards their earlier values."""
        loss = self.learning.loss(self.learning.forward(handle, inputs, targets), targets)
        loss.backward()
        return loss.detach() + pull(
            self.model, self.importance, self.anchor, self.method.strength / 2
        )

    def end(self, experience: Experience) -> None:
        """Estimate which weights the experience depends on."""
        new = fisher(self.model, experience.data.train, self.method.samples, self.learning.seed)
        for name, own in new.items():
            earlier = self.importance.get(name, torch.zeros_like(own))
            self.importance[name] = self.method.decay * earlier + own
        self.anchor = {name: p.detach().clone() for name, p in learned(self.model).items()}


@torch.no_grad()
def pull(
    model: nn.Module, importance: dict[str, Tensor], anchor: dict[str, Tensor], factor: float
) -> Tensor:
    """Return ``factor Σ_i F_i (θ_i - θ*_i)²``, and add its gradient to those of the parameters."""
    total = torch.zeros(())
    for name, parameter in learned(model).items():
        if name in importance:
            away = parameter - anchor[name]
            total = total + factor * (importance[name] * away.square()).sum().cpu()
            add_gradient(parameter, 2 * factor * importance[name] * away)
    return total


def fisher(model: nn.Module, samples: Samples, count: int, seed: int) -> dict[str, Tensor]:
    """Return the diagonal of the Fisher information of each parameter that requires gradients.

    For each of the first ``count`` samples in a random order, a label is drawn from the softmax of
    the model's logits; the gradient of its log probability is exact.

    Args:
        model: Maps a batch's inputs to logits ``(batch, ..., classes)``; the log probabilities of
            several positions are summed.
        samples: Samples of the training split.
        count: Maximum number of samples.
        seed: Seed for the samples and the labels.

    Raises:
        UserError: The outputs are not such logits.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples), generator=generator)[:count]
    known = learned(model)
    found = {name: torch.zeros_like(p) for name, p in known.items()}
    with untouched(model), exact_gradients(model):
        model.eval()
        for row in order:
            inputs, targets = samples.batch(row[None])
            logits = call(model, inputs)  # (1, ..., classes)
            check_logits(ElasticConsolidation.name, logits, targets)
            logs = logits.log_softmax(-1).flatten(0, -2)  # (positions, classes)
            drawn = torch.multinomial(logs.detach().exp().cpu(), 1, generator=generator)
            said = logs.gather(1, drawn.to(logs.device)).sum()
            gradients = torch.autograd.grad(said, list(known.values()), allow_unused=True)
            for name, gradient in zip(known, gradients, strict=True):
                if gradient is not None:
                    found[name] += gradient.square() / len(order)
    return found
