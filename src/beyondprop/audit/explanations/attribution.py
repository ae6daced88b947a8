"""Attribution: how much each number of an input contributes to an answer. Uses captum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.audit.explanations.evidence import AT_ONCE, Told, without_graph
from beyondprop.audit.explanations.regions import count_of
from beyondprop.errors import UserError

TOGETHER = 64
"""Samples that are explained together; their integration steps form one batch."""


class Attribution(ABC):
    """A method that attributes an answer to the numbers of the input.

    Attributes:
        name: Short name, used in records.
    """

    name: ClassVar[str]

    @abstractmethod
    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return the attribution of each number of the inputs.

        Args:
            told: The explained quantity, such as `evidence(model)`.
            inputs: ``(n, ...)``.
            classes: The explained class of each sample, ``(n,)``.
            absent: The baseline, an input that carries no information; in the shape of one input.

        Returns:
            In the shape of the inputs.
        """

    def importance(self, maps: Tensor) -> Tensor:
        """Return the values that rank numbers, in the shape of the maps, largest first."""
        return maps

    def contributions(self, maps: Tensor, inputs: Tensor, absent: Tensor) -> Tensor:
        """Return the decrease that the maps predict for hiding each number, in their shape."""
        del inputs, absent
        return maps


@dataclass(frozen=True)
class IntegratedGradients(Attribution):
    """The integral of the gradient on the straight path from `absent` to the input, times their
    difference.

    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017, equation 1.
    The attributions sum to the difference between the explained quantity at the input and at
    `absent` (completeness).

    Attributes:
        steps: Points on the path, by Gauss-Legendre quadrature.
    """

    name: ClassVar[str] = "integrated gradients"
    steps: int = 32

    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return the attributions; `complete` chooses the number of steps automatically."""
        from captum.attr import IntegratedGradients as Captum

        method = Captum(told)
        parts = [
            method.attribute(
                x, absent[None], additional_forward_args=(c,), n_steps=self.steps,
                internal_batch_size=max(AT_ONCE, len(x)),
            ).detach()
            for x, c in _parts(inputs, classes)
        ]  # fmt: skip
        return torch.cat(parts).to(inputs.dtype)


@dataclass(frozen=True)
class Saliency(Attribution):
    """The gradient. Simonyan, Vedaldi and Zisserman, arXiv:1312.6034, section 3.

    The maps are signed; numbers are ranked by absolute value.
    """

    name: ClassVar[str] = "saliency"

    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return the gradient of the explained output."""
        from captum.attr import Saliency as Captum

        del absent
        method = Captum(told)
        parts = [
            # A copy, because captum sets requires_grad on its argument.
            method.attribute(
                x.clone().requires_grad_(), abs=False, additional_forward_args=(c,)
            ).detach()
            for x, c in _parts(inputs, classes)
        ]
        return torch.cat(parts)

    def importance(self, maps: Tensor) -> Tensor:
        """Return the absolute value of the gradient."""
        return maps.abs()

    def contributions(self, maps: Tensor, inputs: Tensor, absent: Tensor) -> Tensor:
        """Return the gradient times the change that hiding causes."""
        return maps * (inputs - absent)


@dataclass(frozen=True, eq=False)
class Occlusion(Attribution):
    """The decrease caused by hiding a region. Zeiler and Fergus, ECCV 2014, section 4.2.

    Attributes:
        regions: Regions of one input, each hidden separately; see `patches`.
    """

    name: ClassVar[str] = "occlusion"
    regions: Tensor

    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return for each number the decrease caused by hiding its region."""
        from captum.attr import FeatureAblation

        method, count = FeatureAblation(told), count_of(self.regions)
        with torch.no_grad():
            parts = [
                method.attribute(
                    x, absent[None].expand_as(x), additional_forward_args=(c,),
                    feature_mask=self.regions[None].to(x.device),
                    perturbations_per_eval=min(count, max(1, AT_ONCE // len(x))),
                )
                for x, c in _parts(inputs, classes)
            ]  # fmt: skip
        return torch.cat(parts).to(inputs.dtype)

    def contributions(self, maps: Tensor, inputs: Tensor, absent: Tensor) -> Tensor:
        """Return the attribution of each region, divided equally among its numbers."""
        del inputs, absent
        sizes = self.regions.flatten().bincount()[self.regions].to(maps)  # of one input
        return maps / sizes


@dataclass(frozen=True)
class Random(Attribution):
    """Random numbers: a control that does not depend on the model.

    Attributes:
        seed: Seed of the random numbers.
    """

    name: ClassVar[str] = "random"
    seed: int = 0

    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return normally distributed numbers."""
        del told, classes, absent
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(inputs.shape, generator=generator).to(inputs)


@dataclass(frozen=True, eq=False)
class Complete:
    """Integrated gradients that are complete to the tolerance, or as close as the step limit
    allows.

    Attributes:
        maps: Attributions, in the shape of the explained inputs or layer output.
        whole: The expected sum of the attributions, ``(n,)``: the explained quantity at the inputs
            minus that at `absent`.
        error: Relative error of the sum, ``(n,)``.
        steps: Steps used for each sample, ``(n,)`` int64.
    """

    maps: Tensor
    whole: Tensor
    error: Tensor
    steps: Tensor


def complete(
    told: Told,
    inputs: Tensor,
    classes: Tensor,
    absent: Tensor,
    attribute: Callable[[Tensor, Tensor, int], Tensor] | None = None,
    *,
    steps: int = 32,
    most: int = 1024,
    tolerance: float = 0.01,
) -> Complete:
    """Return integrated gradients whose sum is correct to a tolerance. Samples that exceed the
    tolerance are computed again with twice as many steps.

    Args:
        told: See `Attribution.maps`; the same holds for `inputs`, `classes` and `absent`.
        inputs: ``(n, ...)``.
        classes: ``(n,)``.
        absent: In the shape of one input.
        attribute: (inputs, classes, steps) to attributions ``(n, ...)``, for example of a layer; by
            default `IntegratedGradients` of the inputs.
        steps: Initial number of steps.
        most: Maximum number of steps. Samples that still exceed the tolerance keep their last
            attributions, and `Complete.error` shows their error.
        tolerance: Maximum relative error of the sum.

    Raises:
        UserError: `steps` or `most` is out of range.
    """
    if not 1 <= steps <= most:
        raise UserError(f"integrated gradients need 1 <= steps <= most, not {steps} and {most}")

    def of_inputs(x: Tensor, c: Tensor, count: int) -> Tensor:
        return IntegratedGradients(count).maps(told, x, c, absent)

    attribute = attribute or of_inputs
    nothing = absent[None].expand_as(inputs)
    whole = without_graph(told, inputs, classes) - without_graph(told, nothing, classes)  # (n,)
    maps = attribute(inputs, classes, steps)
    taken = torch.full_like(classes, steps)
    error = _error(maps, whole)
    while steps * 2 <= most and (left := (error > tolerance).nonzero().squeeze(1)).numel():
        steps *= 2
        maps[left] = attribute(inputs[left], classes[left], steps)
        taken[left], error[left] = steps, _error(maps[left], whole[left])
    return Complete(maps, whole, error, taken)


def _error(maps: Tensor, whole: Tensor) -> Tensor:
    """Return the relative error of the sum, ``(n,)``."""
    missed = (maps.flatten(1).double().sum(1) - whole).abs()
    size = whole.abs().double()
    # Zero of zero is complete: an input equal to the baseline.
    return torch.where(missed == 0, torch.zeros_like(missed), missed / size).float()


def _parts(inputs: Tensor, classes: Tensor) -> zip[tuple[Tensor, Tensor]]:
    return zip(inputs.split(TOGETHER), classes.split(TOGETHER), strict=True)
