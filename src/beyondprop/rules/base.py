"""What a rule is, and its two families: direct rules and rules of single operations."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from beyondprop.engine.detach import Cut, Lesson
from beyondprop.errors import UserError
from beyondprop.layers import EXACT, OPERATIONS
from beyondprop.projections import Dense, Projection
from beyondprop.registry import settings
from beyondprop.shapes import rows_and_features

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.engine.blocks import Block
    from beyondprop.layers.feedback import Feedback


class Rule(ABC):
    """Where a block's teaching signal comes from. A rule draws no random numbers itself."""

    name: ClassVar[str]
    needs_targets: ClassVar[bool] = False
    cuts: ClassVar[bool] = False
    """Whether a block's output is detached, so that nothing flows back through the next block."""

    whole: ClassVar[bool] = False
    """Whether it teaches the model as a whole, so that no other rule can stand beside it."""

    teaches: ClassVar[bool] = True
    """Whether a block gets any signal, and so passes one on to an uncut block before it."""

    one_output: ClassVar[bool] = False
    """Whether the model may have one output only."""

    scales: ClassVar[bool] = True
    """Whether the signal grows with the loss, as a gradient scaler takes for granted."""

    alone: ClassVar[str] = ""
    """Why several data-parallel processes would not learn as one does; empty where they would."""

    averages: ClassVar[bool] = False
    """Whether they would if all gradients were averaged, the feedback's too (`DataParallel`)."""

    immediate: ClassVar[bool] = False
    """Whether a block can learn as soon as it has run, before the blocks behind it do."""

    begins: ClassVar[frozenset[str]] = frozenset()
    """Names of the projections that only draw what learned feedback begins with: a state holds what
    has become of it, so that their seeds do not matter to it."""

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
        return settings(self, "rule")


@dataclass(frozen=True)
class ProjectedRule(Rule):
    """A rule that carries its signals by a projection."""

    projection: Projection = field(default_factory=Dense)


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
        from beyondprop.rules.backprop import Backprop

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


@dataclass(frozen=True)
class OperationRule(Rule):
    """A rule that goes backward through every layer, but not through the layer's own weight.

    Args:
        exact: Names or `fnmatch` patterns of modules that keep their exact backward pass, although
            they carry errors through weights; the report names them.
    """

    paced: ClassVar[bool] = False
    """Whether the feedback changes with every forward pass in training mode."""

    late: ClassVar[bool] = False
    """Whether a linear layer's feedback is made of its weight alone, as late as it is needed, so
    that no two layers' are alive at once."""

    exact: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given: Any = self.exact
        if isinstance(given, str):
            raise UserError(f"exact= takes a tuple of names: write exact=('{given}',)")

    @abstractmethod
    def feedback(self, weight: Tensor, layer: "Feedback") -> Tensor:
        """Return what stands in for ``weight`` in the backward pass, of its shape and dtype."""

    def start(self, weight: Tensor, layer: "Feedback") -> dict[str, Tensor]:  # noqa: ARG002
        """Return what to keep for a weight from pass to pass; parameters are for an optimizer."""
        return {}

    def install(self, block: "Block", attachment: "Attachment") -> str:
        """Give each layer of the block that has weights a backward of its own."""
        swapped, plain, asked = [], [], []
        for name, module in block.named_modules():
            if self.keeps_exact(name):
                asked += [name] if name in self.exact or _own(module) else []
            elif type(module) in OPERATIONS:
                attachment.swap(name, module, OPERATIONS[type(module)], self)
                swapped.append(name)
            elif isinstance(module, EXACT):
                plain.append(name)
        left = f"; exact, as no weight carries the error: {', '.join(plain)}" if plain else ""
        left += f"; exact, as asked: {', '.join(asked)}" if asked else ""
        return f"own backward for {', '.join(swapped) or 'no layer'}{left}"

    def problems(self, block: "Block") -> Iterator[str]:
        """Yield a sentence for each layer with weights that has no such backward."""
        called = type(self).__name__
        for name in block.loose:
            yield (
                f"{called} covers layers, and '{name}' is a parameter on its own, "
                "whose product would keep its exact backward: give it Backprop() to say so"
            )
        for name, module in block.named_modules():
            if not _own(module) or self.keeps_exact(name):
                continue
            if "forward" in vars(module):
                yield f"'{name}' has a forward of its own, so {called} cannot cover it"
            elif type(module) not in OPERATIONS and not isinstance(module, EXACT):
                covered = ", ".join(dict.fromkeys(c.__name__ for c in OPERATIONS))
                yield (
                    f"{called} cannot cover '{name}' ({type(module).__name__}): it covers "
                    f"{covered}; to keep its exact backward, name it in "
                    f"{called}(exact=('{name}',)) or put it in a block of its own with Backprop()"
                )

    def keeps_exact(self, name: str) -> bool:
        """Whether the module, or one around it, is to keep its exact backward pass."""
        parts = name.split(".")
        outer = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return any(fnmatchcase(each, pattern) for each in outer for pattern in self.exact)


def _own(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))
