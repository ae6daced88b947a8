"""Local rules: each block learns by a loss of its own and needs nothing of the blocks behind it."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from beyondprop.engine.detach import Cut, Lesson
from beyondprop.errors import UserError
from beyondprop.projections import Projection, Redrawn
from beyondprop.rules.backprop import Backprop
from beyondprop.rules.base import Rule
from beyondprop.rules.local.heads import Head

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.engine.blocks import Block


@dataclass(frozen=True, eq=False)
class Passed:
    """What a block's own loss may be made of.

    Attributes:
        output: The block's output, ``(batch, ...)``, with the graph of this block alone.
        targets: What the caller gave ``handle.targets``, or None.
        inputs: The model's input, ``(batch, ...)``, or None where it was called without a tensor.
        head: What stands on the block.
        classes: How many classes the model's output has.
        depth: Where the block stands: 0 for the first that learns so, 1 for the last.
        lesson: The pass.
        block: The block.
        attachment: What is attached.
    """

    output: Tensor
    targets: Tensor | None
    inputs: Tensor | None
    head: Head
    classes: int
    depth: float
    lesson: Lesson
    block: "Block"
    attachment: "Attachment"


@dataclass(frozen=True)
class LocalRule(Rule):
    """A rule by which each block lowers a loss of its own; the output block keeps its exact one.

    Args:
        projection: Draws the weights that the blocks' heads begin with.
    """

    cuts: ClassVar[bool] = True
    scales: ClassVar[bool] = False
    immediate: ClassVar[bool] = True
    begins: ClassVar[frozenset[str]] = frozenset({"projection"})
    projection: Projection = field(default_factory=Redrawn, kw_only=True)

    @abstractmethod
    def loss(self, passed: Passed) -> Tensor:
        """Return the block's own loss, a scalar."""

    def head_parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the parameters of what stands on a block at this depth (0 to 1)."""
        return ()

    def needs_classes(self) -> bool:
        """Whether the number of the output's classes must be known before the output is."""
        return False

    def install(self, block: "Block", attachment: "Attachment") -> str:
        """Cut the block's output, and give the block its loss."""
        beside = [p for _, p in block.parameters() if p.requires_grad]
        depth = depth_of(block, attachment.blocks)
        names = self.head_parameters(depth)
        head = Head.begin(names, self.projection, block.stream, beside)
        learner = Learner(self, attachment, block, depth, head)
        attachment.cut(block, Cut(None, block.stream, None, head.state, beside, learner))
        stands = f", of a head with {', '.join(head.state)}" if head.state else ""
        return f"output cut: it learns by a loss of its own{stands}"

    def problems(self, block: "Block") -> Iterator[str]:
        """Yield a sentence where the classes cannot be counted."""
        if self.needs_classes() and classes_of(block.owner) is None:
            yield (
                f"{type(self).__name__} puts a classifier on block '{block.name}', and how many "
                "classes there are cannot be seen: the model's last layer is not linear, so give "
                f"{type(self).__name__}(..., classes=…)"
            )

    def at_output(self) -> Rule:
        """Return the exact gradient."""
        return Backprop()


@dataclass(frozen=True, eq=False)
class Learner:
    """One block under a local rule."""

    rule: LocalRule
    attachment: "Attachment"
    block: "Block"
    depth: float
    head: Head

    def loss(self, lesson: Lesson, output: Tensor) -> Tensor:
        """Return the block's loss (see `teach.Learner`)."""
        passed = Passed(
            output=output,
            targets=lesson.targets,
            inputs=None if lesson.inputs is None else lesson.inputs.detach(),
            head=self.head,
            classes=self.attachment.classes or 0,
            depth=self.depth,
            lesson=lesson,
            block=self.block,
            attachment=self.attachment,
        )
        loss = self.rule.loss(passed)
        if loss.dim():
            raise UserError(
                f"the loss of {type(self.rule).__name__} must be one number, not {loss.shape}"
            )
        return loss


def depth_of(block: "Block", blocks: Sequence["Block"]) -> float:
    """Return where a block stands among those that learn by local rules: 0 first, 1 last."""
    local = [each for each in blocks if isinstance(each.rule, LocalRule)]
    return local.index(block) / max(1, len(local) - 1)


def classes_of(model: nn.Module) -> int | None:
    """Return how many outputs the model's last layer has, if that can be seen."""
    for module in reversed(list(model.modules())):
        for attribute in ("out_features", "out_channels"):
            found = getattr(module, attribute, None)
            if isinstance(found, int):
                return found
        if any(True for _ in module.parameters(recurse=False)) and not _is_norm(module):
            return None
    return None


def _is_norm(module: nn.Module) -> bool:
    from beyondprop.layers import NORMS

    return isinstance(module, NORMS)
