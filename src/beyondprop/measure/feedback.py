"""The feedback matrices of a model's rules: their shapes and their sizes in bytes."""

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from beyondprop.core import AtWeight, Block
from beyondprop.engine.attachment import Attachment
from beyondprop.matching import match
from beyondprop.projections import BySize, Dense, Projection
from beyondprop.projections.cost.work import work


@dataclass(frozen=True)
class Matrix:
    """A matrix that a rule uses to train a block.

    Attributes:
        name: "feedback" (with the projection that is used, if that is chosen automatically and is
            not a matrix), the name of the weight that it replaces in the backward pass, or the name
            of a tensor of a head.
        shape: Its shape. For the fixed feedback of a direct rule: errors × outputs of the block;
            for a layer-by-layer rule: outputs × inputs of the layer.
        bytes: Bytes that are stored for it; 0 if it is redrawn each time, None if not known.
        learned: Whether it changes in training.
        key: Identifies matrices that blocks share.
    """

    name: str
    shape: tuple[int, ...]
    bytes: int | None
    learned: bool
    key: Hashable

    def __str__(self) -> str:
        return f"{self.name} {'×'.join(map(str, self.shape)) or 'of one number'}"


def matrices(
    handle: Attachment,
    block: Block,
    outputs: Sequence[Tensor],
    errors: Sequence[Tensor],
    deaf: Collection[nn.Module],
) -> tuple[Matrix, ...]:
    """Return the matrices that the block's rule uses, after a training pass.

    Args:
        handle: The attachment.
        block: The block.
        outputs: Outputs of the block; empty if it was not called.
        errors: The model's outputs, which have the shape of the errors.
        deaf: Layers that send no error back, because their inputs need no gradient.
    """
    return (*_kept(handle, block), *_fixed(handle, block, outputs, errors, deaf))


def stored(found: Sequence[Matrix]) -> int:
    """Return the total bytes of matrices; a matrix that blocks share counts once."""
    return sum({matrix.key: matrix.bytes or 0 for matrix in found}.values())


def _kept(handle: Attachment, block: Block) -> Iterator[Matrix]:
    layers = {id(module) for _, module in block.named_modules()}
    for name, each in handle.passes.state.stateful.items():
        of_layer = isinstance(each, AtWeight) and id(each.layer) in layers
        if of_layer or each is handle.taught(block):
            for key, tensor in each.state.items():
                if not is_lazy(tensor) and tensor.dim() and tensor.numel():
                    shown = key
                    if of_layer:
                        inner = _inside(block, name)
                        shown = inner if key == "feedback" else f"{key} of {inner}"
                    size = tensor.numel() * tensor.element_size()
                    yield Matrix(shown, tuple(tensor.shape), size, learned=True, key=id(tensor))


def _fixed(
    handle: Attachment,
    block: Block,
    outputs: Sequence[Tensor],
    errors: Sequence[Tensor],
    deaf: Collection[nn.Module],
) -> Iterator[Matrix]:
    traits = block.rule.traits
    projections = [
        value
        for key, value in vars(block.rule).items()
        if isinstance(value, Projection) and key not in traits.drawn_once
    ]
    taught = handle.taught(block)
    if len(projections) != 1 or (taught is not None and taught.state):
        return  # a rule with a state draws something else
    (projection,) = projections
    if "weights" in traits.needs:
        yield from _of_layers(block, projection, deaf)
    elif traits.ends_graph and traits.needs & {"error", "targets"}:
        axes, stream = handle.blocks[-1].axes, projection.stream(block.stream)
        for output, (i, error) in product(outputs, enumerate(errors)):
            found = match(error.shape, axes, output.shape, block.axes)
            widths = found.width, found.features
            yield _drawn("feedback", projection, stream + i, widths, output)


def _of_layers(
    block: Block, projection: Projection, deaf: Collection[nn.Module]
) -> Iterator[Matrix]:
    for name, module in block.named_modules():
        weights: dict[str, AtWeight] = vars(module).get("_feedback", {})
        if len(weights) == 1 and module in deaf:
            continue
        for own, at in weights.items():
            if at.state:
                continue  # the state is learned, and the projection draws something else
            weight = at.weight().detach()
            shape = weight.numel() // at.inputs, at.inputs
            stream = projection.stream(at.stream)
            yield _drawn(_inside(block, f"{name}.{own}"), projection, stream, shape, weight)


def _inside(block: Block, name: str) -> str:
    return name.removeprefix(f"{block.name}.")


def _drawn(
    name: str, projection: Projection, stream: int, shape: tuple[int, int], like: Tensor
) -> Matrix:
    known = work(projection, *shape, 1, torch.device("cpu"))
    if isinstance(projection, BySize) and not isinstance(projection.chosen(*shape), Dense):
        name = f"{name} by {projection.chosen(*shape).name}"
    # The projection is chosen for work in float32.
    size = None if known is None else known.stored * like.element_size() // 4
    key = id(projection), stream, shape, like.dtype
    return Matrix(name, shape, size, learned=False, key=key)
