"""The angle between what a rule teaches and what backprop would teach."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import untouched
from beyondprop.measure.gradients import BlockGradients, gradients_of_blocks


def alignment(
    handle: Attachment,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, float | None]:
    """Cosine between each block's update under its rule and the true gradient, on one batch.

    1 is backprop's own direction; 0 is at a right angle to it; above 0, a small enough step of that
    block lowers the loss. All parameters of a block count as one vector. Both passes see the same
    dropout masks, in the mode (train or eval) the model is in; the model is left as it was found.
    The angle was proposed as the measure of feedback alignment by Lillicrap, Cownden, Tweed and
    Akerman (2016) and used for direct feedback alignment by Nøkland (2016).

    Args:
        handle: What `attach` returned.
        inputs: ``(batch, ...)``, on the model's device.
        targets: ``(batch, ...)``, on the model's device.
        loss: (outputs, targets) to a scalar.

    Returns:
        Block name to cosine in [-1, 1], in the order of the blocks; None where the rule or the true
        gradient teaches the block nothing, or something that is not finite.
    """
    taught = _gradients(handle, inputs, targets, loss)
    with exact_gradients(handle.model):
        true = _gradients(handle, inputs, targets, loss)
    return {
        block.name: cosine(ours, theirs)
        for block, ours, theirs in zip(handle.blocks, taught, true, strict=True)
    }


def cosine(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> float | None:
    """Return the cosine between two lists of tensors, each list taken as one vector.

    Args:
        a: Tensors; None stands for zeros.
        b: As many, of the same shapes.

    Returns:
        In [-1, 1], computed in float64; None where a vector is zero or not finite.
    """
    lengths = math.sqrt(_dot(a, a)) * math.sqrt(_dot(b, b))
    if lengths == 0 or not math.isfinite(lengths):
        return None
    return max(-1.0, min(1.0, _dot(a, b) / lengths))


def angle_degrees(cosine: float | None) -> float | None:
    """Return the angle of a cosine, in degrees from 0 to 180; None for None."""
    return None if cosine is None else math.degrees(math.acos(cosine))


def _gradients(
    handle: Attachment,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> BlockGradients:
    with untouched(handle.model), torch.enable_grad():
        with handle.targets(targets):
            value = loss(handle.model(inputs), targets)
        return gradients_of_blocks(handle, [value], [None])


def _dot(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> float:
    return sum(
        torch.dot(x.to_dense().double().flatten(), y.to_dense().double().flatten()).item()
        for x, y in zip(a, b, strict=True)
        if x is not None and y is not None
    )
