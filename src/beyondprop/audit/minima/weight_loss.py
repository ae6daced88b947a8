"""The loss on fixed samples as a function of a model's weights: value, gradient, curvature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from beyondprop._torch.functional import call_with
from beyondprop.errors import UserError
from beyondprop.tasks import Samples, arguments_of

Weights = Mapping[str, Tensor]
"""Tensors by the names of the parameters that they replace."""


@dataclass(frozen=True, eq=False)
class WeightLoss:
    """The mean loss on fixed samples, as a function of the parameters that require gradients.

    Every figure is a sum over batches, so only the graph of one batch is in memory at a time. It
    equals the loss of all samples if the criterion is a mean over samples.

    Attributes:
        model: In eval mode, so that norms use their stored statistics and dropout is off. It is not
            changed.
        samples: All of them are used, in their order.
        criterion: (outputs, targets) to a scalar, a mean over samples.
        batch_size: Samples per batch; affects only memory and speed.

    Raises:
        UserError: The model is in training mode, no parameter requires gradients, or a weight is
            not finite.
    """

    model: nn.Module
    samples: Samples
    criterion: Callable[[Any, Any], Tensor]
    batch_size: int = 500

    def __post_init__(self) -> None:
        if any(module.training for module in self.model.modules()):
            raise UserError("the loss of a model in training mode is not fixed: call eval()")
        if not self.weights:
            raise UserError("no parameter of the model requires gradients: there is no minimum")
        if not all(bool(each.isfinite().all()) for each in self.weights.values()):
            raise UserError("some weights are not finite: training has diverged")

    @property
    def weights(self) -> dict[str, Tensor]:
        """The model's own weights, by name."""
        named = self.model.named_parameters()
        return {name: each.detach() for name, each in named if each.requires_grad}

    @property
    def count(self) -> int:
        """Number of weights, n."""
        return sum(each.numel() for each in self.weights.values())

    def shaped(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a vector (n,) as tensors with the shapes, dtypes and devices of the weights."""
        weights = self.weights
        parts = vector.split([each.numel() for each in weights.values()])
        return {
            name: part.view(each.shape).to(each)
            for (name, each), part in zip(weights.items(), parts, strict=True)
        }

    def value(self, weights: Weights | None = None) -> float:
        """Return the loss at the given weights, by default at the model's own."""
        total = 0.0
        with torch.no_grad():
            for share, loss in self._batches():
                total += share * loss(weights or {}).item()
        return total

    def gradient(self) -> Tensor:
        """Return the gradient at the model's weights, (n,)."""
        weights, total = self.weights, None
        for share, loss in self._batches():
            total = _added(total, share, torch.func.grad(loss)(weights))
        return _flat(total)

    def product(self, vector: Tensor) -> Tensor:
        """Return the Hessian at the model's weights times a vector, (n,) to (n,).

        It is the gradient of the gradient's product with the vector (Pearlmutter 1994), as the
        Hessian is symmetric. It uses reverse over reverse mode, which every layer with a second
        derivative supports and which is faster than forward over reverse.
        """
        weights, along, total = self.weights, self.shaped(vector), None
        with sdpa_kernel(SDPBackend.MATH):  # the others can't be differentiated twice
            for share, loss in self._batches():
                _, back, *_ = torch.func.vjp(torch.func.grad(loss), weights)
                total = _added(total, share, back(along)[0])
        return _flat(total)

    def _batches(self) -> Iterator[tuple[float, Callable[[Weights], Tensor]]]:
        """Yield each batch's share of the samples, and its loss as a function of the weights."""
        for begin in range(0, len(self.samples), self.batch_size):
            end = min(begin + self.batch_size, len(self.samples))
            inputs, targets = self.samples.batch(slice(begin, end))
            yield (end - begin) / len(self.samples), self._of(inputs, targets)

    def _of(self, inputs: Any, targets: Any) -> Callable[[Weights], Tensor]:
        arguments, keywords = arguments_of(inputs)

        def loss(weights: Weights) -> Tensor:
            return self.criterion(call_with(self.model, weights, arguments, keywords), targets)

        return loss


def _added(total: dict[str, Tensor] | None, share: float, found: Weights) -> dict[str, Tensor]:
    """Return a sum over batches with one more batch added."""
    if total is None:
        return {name: share * each for name, each in found.items()}
    return {name: each.add(found[name], alpha=share) for name, each in total.items()}


def _flat(total: Weights | None) -> Tensor:
    return torch.cat([each.flatten() for each in (total or {}).values()])  # (n,)
