"""What a rule is, and its two families: direct rules and rules of single operations."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..ops import EXACT, OPERATIONS
from ..projections import Dense, Projection
from ..teach import Cut, Lesson, rows_and_features

if TYPE_CHECKING:
    from ..attachment import Attachment
    from ..blocks import Block


class Rule(ABC):
    """Where a block's teaching signal comes from. A rule draws no random numbers itself."""

    name: ClassVar[str]
    needs_targets: ClassVar[bool] = False
    cuts: ClassVar[bool] = False
    """Whether a block's output is detached, so that nothing flows back through the next block."""

    teaches: ClassVar[bool] = True
    """Whether a block gets any signal, and so passes one on to an uncut block before it."""

    @abstractmethod
    def install(self, block: "Block", attachment: "Attachment") -> str:
        """Change how the block is taught; return in a few words what was changed."""

    def problems(self, block: "Block") -> Iterator[str]:  # noqa: ARG002
        """Yield a sentence for each reason why this rule cannot teach the block."""
        yield from ()

    def at_output(self) -> "Rule":
        """Return the rule for the block that makes the model's output."""
        return self

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build the same rule again, as JSON values."""
        return {"rule": self.name}


@dataclass(frozen=True)
class ProjectedRule(Rule):
    """A rule that carries its signals by a projection."""

    projection: Projection = field(default_factory=Dense)

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build the same rule again, as JSON values."""
        return {"rule": self.name, "projection": self.projection.settings()}


@dataclass(frozen=True)
class DirectRule(ProjectedRule):
    """A rule that sends one message to every block at once, each block seeing its own projection.

    The output block, which needs no projection, keeps its exact gradient. By default the blocks
    share one matrix, sliced to their widths, as published for large models (Launay et al. 2020):
    it takes no memory to speak of.
    """

    cuts: ClassVar[bool] = True
    projection: Projection = field(default_factory=partial(Dense, shared=True))

    @abstractmethod
    def messages(self, lesson: Lesson) -> Sequence[Tensor | None]:
        """Return what is sent, shaped like each of the model's outputs; None where nothing is."""

    def install(self, block: "Block", attachment: "Attachment") -> str:
        """Tap the block's output."""
        attachment.cut(block, Cut(self, self.projection.stream(block.stream)))
        return "output tapped and cut: the signal is projected to it directly"

    def at_output(self) -> Rule:
        """Return the exact gradient."""
        from .backprop import Backprop

        return Backprop()

    def signal(self, lesson: Lesson, shape: torch.Size, stream: int) -> Tensor:
        """Return the signal at a block's output: the messages' projections, summed."""
        signals = [
            self._project(message, shape, stream + i)
            for i, message in enumerate(lesson.messages(self))
            if message is not None
        ]
        return signals[0] if len(signals) == 1 else torch.stack(signals).sum(0)

    def _project(self, message: Tensor, shape: torch.Size, stream: int) -> Tensor:
        rows, width, features = rows_and_features(message.shape, shape)
        if message.dim() != 2:
            message = message.reshape(rows, width)
        signal = self.projection.project(message, features, stream)
        return signal if len(shape) == 2 else signal.view(shape)


class OperationRule(Rule):
    """A rule that goes backward through every layer, but not through the layer's own weight."""

    @abstractmethod
    def feedback(self, weight: Tensor, stream: int) -> Tensor:
        """Return what stands in for ``weight``, of the same shape, in the backward pass."""

    def install(self, block: "Block", attachment: "Attachment") -> str:
        """Give each linear and convolution layer of the block a backward of its own."""
        swapped, exact = [], []
        for name, module in block.named_modules():
            if type(module) in OPERATIONS:
                attachment.swap(module, OPERATIONS[type(module)], self, stream_of(name))
                swapped.append(name)
            elif isinstance(module, EXACT):
                exact.append(name)
        left = f"; exact, as no weight carries the error: {', '.join(exact)}" if exact else ""
        return f"own backward for {', '.join(swapped) or 'no layer'}{left}"

    def problems(self, block: "Block") -> Iterator[str]:
        """Yield a sentence for each layer with weights that has no such backward yet."""
        for name in block.loose:
            yield (
                f"{type(self).__name__} covers layers, and '{name}' is a parameter on its own, "
                "whose product would keep its exact backward: give it Backprop() to say so"
            )
        for name, module in block.named_modules():
            own = any(True for _ in module.parameters(recurse=False))
            if own and "forward" in vars(module):
                yield f"'{name}' has a forward of its own, so {type(self).__name__} cannot cover it"
            elif own and type(module) not in OPERATIONS and not isinstance(module, EXACT):
                yield (
                    f"{type(self).__name__} cannot cover '{name}' ({type(module).__name__}): it "
                    f"covers {', '.join(c.__name__ for c in OPERATIONS)}; put it in a block of its "
                    "own with Backprop() to keep its exact backward"
                )


def stream_of(name: str) -> int:
    """Return the number of the random stream that belongs to a module's name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest())
