"""An attack without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.audit.logits import Logits
from beyondprop.audit.robustness.attacks.base import Attack
from beyondprop.audit.robustness.attacks.images import as_images, drawn_seed, from_images, of_images
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count


@dataclass(frozen=True)
class Square(Attack):
    """Random search with squares, or with single features for inputs that are not images, without
    gradients (Andriushchenko et al. 2020), by pyautoattack.

    Attributes:
        queries: Number of queries of the model for each sample.
    """

    name: ClassVar[str] = "Square"
    packages: ClassVar[tuple[str, ...]] = ("pyautoattack",)
    queries: Count = 1000

    def __post_init__(self) -> None:
        check_fields(self)

    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return the inputs with the smallest margin found."""
        from pyautoattack.square import SquareAttack

        attack = SquareAttack(
            of_images(logits, units),
            eps=epsilon,
            n_queries=self.queries,
            seed=drawn_seed(),
            device=units.device,
        )
        with torch.no_grad():
            return from_images(attack.perturb(as_images(units), targets), units)
