"""What a case is: a module to attach to, and all that a test needs to teach it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from beyondprop.rules import Rule

CLASSES = 4

Shape = tuple[int, ...]


class Batch(NamedTuple):
    """What a model is called with."""

    inputs: tuple[Tensor, ...]
    keywords: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Case:
    """A module to attach to: how to build it, its blocks, what it takes and what it gives.

    Attributes:
        name: Short and unlike the others.
        build: Makes the module, with the weights that the global generator gives.
        inputs: Shapes of the positional inputs.
        keywords: Shapes of the keyword inputs.
        below: Positional inputs are whole numbers from 0 to below this; without it they are floats.
        targets: Shape of the class numbers; every output has one more dimension, the classes.
        blocks: The blocks to name where there is no default.
        backprop: Patterns that get `Backprop()` whatever the others get.
        exact: What a `LayerRule` must be told to leave exact.
        exact_for: The rules that must be told so; empty for all of them.
        logits: Picks the class outputs, shape ``(*targets, classes)``, from what is returned.
        several: Whether there are several outputs, which some rules refuse.
        refused: Rules that cannot teach this module, by kind or short name, and what they say.
        training: Whether it is tested in training mode.
        pickles: Whether the plain module can be pickled; PyTorch cannot pickle a parametrization.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Sequence[Shape] = ((6, 8),)
    keywords: Mapping[str, Shape] = field(default_factory=dict)
    below: int | None = None
    targets: Shape = (6,)
    blocks: Sequence[str] | None = None
    backprop: Sequence[str] = ()
    exact: tuple[str, ...] = ()
    exact_for: tuple[str, ...] = ()
    logits: Callable[[Any], Sequence[Tensor]] = lambda out: [out]
    several: bool = False
    refused: Mapping[type[Rule] | str, str] = field(default_factory=dict)
    training: bool = True
    pickles: bool = True

    def __str__(self) -> str:
        return self.name

    def exact_under(self, rule: str) -> tuple[str, ...]:
        """Return what a rule, by its short name, must be told to leave exact."""
        return self.exact if rule in self.exact_for or not self.exact_for else ()

    def fresh(self) -> nn.Module:
        """Build the module, always with the same weights, in the mode it is tested in."""
        torch.default_generator.manual_seed(3)  # torch.manual_seed takes longer than most passes
        return self.build().train(self.training)

    def batch(self, seed: int = 1) -> Batch:
        """Draw a batch."""
        generator = torch.Generator().manual_seed(seed)
        if self.below is None:
            inputs = tuple(torch.randn(shape, generator=generator) for shape in self.inputs)
        else:
            inputs = tuple(
                torch.randint(self.below, shape, generator=generator) for shape in self.inputs
            )
        named = {n: torch.randn(s, generator=generator) for n, s in self.keywords.items()}
        return Batch(inputs, named)

    def classes(self) -> Tensor:
        """Return the class numbers to learn."""
        return (torch.arange(torch.Size(self.targets).numel()) % CLASSES).view(self.targets)
