"""The angle between a rule's update and the update of backprop."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import untouched
from beyondprop.measure.base import Column, Figures, Measure, MeasureTraits, Subject, given
from beyondprop.measure.blocks import BlockGradients, gradients_of_blocks
from beyondprop.tasks import call, taught

FLOOR = 8.0
"""Minimum norm of a true gradient, in rounding errors of the largest block's; shorter ones are
noise.

A backward pass rounds all its sums, so every block's gradient has an error of the order of ``eps``
(of the coarsest dtype among the parameters) times the largest gradients in the pass. If a block's
gradient is 8 such errors long, the error turns it by up to about 7 degrees (atan 1/8) and lowers a
cosine by 1 %; below that, rounding soon determines its direction. In float32 the floor is 1e-6 of
the largest norm: deep networks whose gradients vanish, but are accurate, stay above it.
"""


@dataclass(frozen=True)
class BlockAlignment:
    """The alignment of one block.

    Attributes:
        cosine: In [-1, 1]; None if it is void.
        gradient_norm: Length of the true gradient, the reference.
        void: Why the cosine has no meaning: a word or two, a colon, and the explanation; empty if
            it has a meaning.
    """

    cosine: float | None
    gradient_norm: float
    void: str = ""


def alignment(
    handle: Attachment,
    inputs: Any,
    targets: Any,
    loss: Callable[[Any, Any], Tensor],
) -> dict[str, float | None]:
    """Cosine between each block's update under its rule and the true gradient, on one batch.

    `block_alignments` also returns the norms of the gradients, and why a cosine is void.

    Returns:
        Block name to cosine in [-1, 1], in the order of the blocks; None if it is void.
    """
    found = block_alignments(handle, inputs, targets, loss)
    return {name: each.cosine for name, each in found.items()}


def block_alignments(
    handle: Attachment,
    inputs: Any,
    targets: Any,
    loss: Callable[[Any, Any], Tensor],
) -> dict[str, BlockAlignment]:
    """Alignment of each block's update with the true gradient, on one batch.

    1 is the direction of backprop; 0 is perpendicular to it; above 0, a sufficiently small step of
    that block lowers the loss. All parameters of a block count as one vector. Both passes use the
    same dropout masks, in the model's current mode (train or eval); the model is left unchanged.
    The angle was proposed as the measure of feedback alignment by Lillicrap, Cownden, Tweed and
    Akerman (2016) and used for direct feedback alignment by Nøkland (2016).

    Args:
        handle: The result of `attach`.
        inputs: ``(batch, ...)``, on the model's device.
        targets: ``(batch, ...)``, on the model's device.
        loss: (outputs, targets) to a scalar.

    Returns:
        Block name to its alignment, in the order of the blocks. An alignment is void if the rule
        gives the block no update, if a vector is not finite, and if the true gradient is zero or
        shorter than `FLOOR` allows.
    """
    taught = _gradients(handle, inputs, targets, loss)
    with exact_gradients(handle.model):
        true = _gradients(handle, inputs, targets, loss)
    norms = [math.sqrt(_dot(block, block)) for block in true]
    floor = FLOOR * _rounding(true) * max((n for n in norms if math.isfinite(n)), default=0.0)
    return {
        block.name: _aligned(ours, theirs, norm, floor)
        for block, ours, theirs, norm in zip(handle.blocks, taught, true, norms, strict=True)
    }


class AlignmentMeasure(Measure):
    """The cosine between each block's update and the true gradient.

    Known answers: 1 in every block under backprop, and in the output block under every direct rule;
    void in every hidden block under frozen.
    """

    name = "alignment"
    title = "Alignment with the true gradient"
    about = (
        "The cosine of the angle between a rule's update and the true gradient: 1 means the same"
        " direction, 0 unrelated, −1 opposite. It is void (undefined) if the rule changes nothing,"
        " or if the true gradient is so short that rounding errors determine its direction. The"
        " table shows the mean over hidden blocks and seeds at the end of training."
    )
    traits = MeasureTraits(frozenset({"handle", "inputs", "targets", "loss"}), each_epoch=True)
    columns = (
        Column(
            "alignment",
            "alignment",
            "cosine between the rule's last update of hidden blocks and the true gradient",
        ),
    )
    block_columns = (
        Column("cosine", "cosine", "between update and true gradient"),
        Column("gradient_norm", "norm", "of the true gradient", ".2g"),
    )

    def run(self, subject: Subject) -> Figures:
        """Return the mean cosine of hidden blocks, and the cosine and norm of each block."""
        handle = given(subject.handle, "a handle")
        inputs, targets = given(subject.inputs, "inputs"), given(subject.targets, "targets")
        found = block_alignments(handle, inputs, targets, given(subject.loss, "a loss"))
        hidden = [each.cosine for each in list(found.values())[:-1] if each.cosine is not None]
        return Figures(
            values={"alignment": sum(hidden) / len(hidden) if hidden else None},
            blocks={
                "cosine": {name: each.cosine for name, each in found.items()},
                "gradient_norm": {name: each.gradient_norm for name, each in found.items()},
            },
            notes={name: each.void for name, each in found.items() if each.void},
            words=_told(found),
        )

    def contradictions(self, subject: Subject, figures: Figures) -> Iterator[str]:
        """Backprop has a cosine of 1 with itself; a block that does not learn has none."""
        handle = given(subject.handle, "a handle")
        for block in handle.blocks:
            cosine = figures.blocks["cosine"][block.name]
            if cosine is not None and not -1 <= cosine <= 1:
                yield f"the cosine of block {block.name} is {cosine}"
            if (cosine is None) is not (block.name in figures.notes):
                yield f"block {block.name} has a cosine and a reason to have none, or neither"
            if not block.rule.traits.learns and cosine is not None:
                yield f"block {block.name} is frozen and has an alignment of {cosine}"
            exact = block.rule.traits.exact and _only_exact_after(handle, block.name)
            if exact and cosine is not None and abs(cosine - 1) > 1e-6:
                yield f"block {block.name} has its exact gradient and an alignment of {cosine}"


def cosine(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> float | None:
    """Return the cosine between two lists of tensors, each list treated as one vector.

    Args:
        a: Tensors; None means zeros.
        b: The same number of tensors, of the same shapes.

    Returns:
        In [-1, 1], computed in float64; None if a vector is zero or not finite.
    """
    lengths = math.sqrt(_dot(a, a)) * math.sqrt(_dot(b, b))
    if lengths == 0 or not math.isfinite(lengths):
        return None
    return max(-1.0, min(1.0, _dot(a, b) / lengths))


def angle_degrees(cosine: float | None) -> float | None:
    """Return the angle of a cosine, in degrees from 0 to 180; None for None."""
    return None if cosine is None else math.degrees(math.acos(cosine))


def _aligned(
    ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None], norm: float, floor: float
) -> BlockAlignment:
    own = math.sqrt(_dot(ours, ours))
    if own == 0:
        return BlockAlignment(None, norm, "not taught: the rule gives the block no update")
    if not math.isfinite(own) or not math.isfinite(norm):
        return BlockAlignment(None, norm, "void: the update or the true gradient is not finite")
    if norm <= floor:
        why = f"void: the true gradient's norm of {norm:.2g} is not above the floor of {floor:.2g}"
        return BlockAlignment(None, norm, why)
    return BlockAlignment(cosine(ours, theirs), norm)


def _rounding(blocks: BlockGradients) -> float:
    """Return the relative rounding error of the coarsest dtype among gradients."""
    found = [gradient for block in blocks for gradient in block if gradient is not None]
    return max((torch.finfo(gradient.dtype).eps for gradient in found), default=0.0)


def _only_exact_after(handle: Attachment, name: str) -> bool:
    names = [block.name for block in handle.blocks]
    return all(b.rule.traits.exact for b in handle.blocks[names.index(name) :])


def _told(found: Mapping[str, BlockAlignment]) -> str:
    void = [
        f"Block {name} is {each.void}."
        for name, each in found.items()
        if each.void.startswith("void")
    ]
    return " ".join(void)


def _gradients(
    handle: Attachment,
    inputs: Any,
    targets: Any,
    loss: Callable[[Any, Any], Tensor],
) -> BlockGradients:
    with untouched(handle.model), torch.enable_grad():
        with taught(handle, targets):
            value = loss(call(handle.model, inputs), targets)
        return gradients_of_blocks(handle, [value], [None])


def _dot(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> float:
    return sum(
        torch.dot(x.to_dense().double().flatten(), y.to_dense().double().flatten()).item()
        for x, y in zip(a, b, strict=True)
        if x is not None and y is not None
    )
