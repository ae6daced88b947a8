"""Attribution: how much each number of an input says for an answer. By captum."""

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
"""Samples that are explained together: their steps go through the model as one batch."""


class Attribution(ABC):
    """A way to say what an answer comes from.

    Attributes:
        name: Short name, in records.
    """

    name: ClassVar[str]

    @abstractmethod
    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return a number for each number of the inputs.

        Args:
            told: Of which, such as `evidence(model)`.
            inputs: ``(n, ...)``.
            classes: Asked about, ``(n,)``.
            absent: The input that carries no information, in the shape of one input.

        Returns:
            In the shape of the inputs.
        """

    def importance(self, maps: Tensor) -> Tensor:
        """Return by what maps are ranked, in their shape: most first."""
        return maps

    def contributions(self, maps: Tensor, inputs: Tensor, absent: Tensor) -> Tensor:
        """Return what maps say that hiding each number takes away, in their shape."""
        del inputs, absent
        return maps


@dataclass(frozen=True)
class IntegratedGradients(Attribution):
    """The gradient along the straight way from `absent` to the input, times their difference.

    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017, equation 1.
    What it says of all numbers together is the difference in what is told (completeness).

    Attributes:
        steps: Points of the way, by Gauss-Legendre.
    """

    name: ClassVar[str] = "integrated gradients"
    steps: int = 32

    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return the attributions; see `complete` for as many steps as it needs."""
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

    Its maps have their signs; they are ranked by size.
    """

    name: ClassVar[str] = "saliency"

    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return the gradient of the explained output."""
        from captum.attr import Saliency as Captum

        del absent
        method = Captum(told)
        parts = [
            # A copy of its own: captum asks for gradients on what it is given.
            method.attribute(
                x.clone().requires_grad_(), abs=False, additional_forward_args=(c,)
            ).detach()
            for x, c in _parts(inputs, classes)
        ]
        return torch.cat(parts)

    def importance(self, maps: Tensor) -> Tensor:
        """Return the size of the gradient."""
        return maps.abs()

    def contributions(self, maps: Tensor, inputs: Tensor, absent: Tensor) -> Tensor:
        """Return the gradient times what hiding changes."""
        return maps * (inputs - absent)


@dataclass(frozen=True, eq=False)
class Occlusion(Attribution):
    """What hiding a region takes away. Zeiler and Fergus, ECCV 2014, section 4.2.

    Attributes:
        regions: Of one input, each hidden alone; see `patches`.
    """

    name: ClassVar[str] = "occlusion"
    regions: Tensor

    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return at each number what hiding its region takes away."""
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
        """Return a region's number shared out among its numbers."""
        del inputs, absent
        sizes = self.regions.flatten().bincount()[self.regions].to(maps)  # of one input
        return maps / sizes


@dataclass(frozen=True)
class Random(Attribution):
    """Random numbers: the control, which knows nothing of the model.

    Attributes:
        seed: Of the numbers.
    """

    name: ClassVar[str] = "random"
    seed: int = 0

    def maps(self, told: Told, inputs: Tensor, classes: Tensor, absent: Tensor) -> Tensor:
        """Return normal numbers."""
        del told, classes, absent
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(inputs.shape, generator=generator).to(inputs)


@dataclass(frozen=True, eq=False)
class Complete:
    """Attributions that are complete, or as near to it as the steps allowed.

    Attributes:
        maps: In the shape of what they are of.
        whole: What all numbers together are to say, ``(n,)``: what is told of the inputs, less what
            is told of `absent`.
        error: By how much they miss it, as a share of it, ``(n,)``.
        steps: That each sample took, ``(n,)`` int64.
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
    """Return integrated gradients whose sum is right to a tolerance, by more steps where it needs
    them: those samples that miss it are done again with twice as many.

    Args:
        told: See `Attribution.maps`; also for inputs, classes and absent.
        inputs: ``(n, ...)``.
        classes: ``(n,)``.
        absent: In the shape of one input.
        attribute: (inputs, classes, steps) to attributions ``(n, ...)``, of a layer say; by default
            `IntegratedGradients` of the inputs.
        steps: To begin with.
        most: Steps after which what misses the tolerance is left as it is, and told.
        tolerance: Share of the whole.

    Raises:
        UserError: The steps make no sense.
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
    """Return by what share of the whole the sum misses it, ``(n,)``."""
    missed = (maps.flatten(1).double().sum(1) - whole).abs()
    size = whole.abs().double()
    # Nothing of nothing is complete: an input without anything in it.
    return torch.where(missed == 0, torch.zeros_like(missed), missed / size).float()


def _parts(inputs: Tensor, classes: Tensor) -> zip[tuple[Tensor, Tensor]]:
    return zip(inputs.split(TOGETHER), classes.split(TOGETHER), strict=True)
