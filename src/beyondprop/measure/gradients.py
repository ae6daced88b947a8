"""The gradients that the blocks of a model get, without touching any ``.grad``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from beyondprop.engine.attachment import Attachment

BlockGradients = list[list[Tensor | None]]
"""For each block the gradients of `Block.parameters`, in their order; None where not taught."""


def gradients_of_blocks(
    handle: Attachment, roots: Sequence[Tensor], errors: Sequence[Tensor | None]
) -> BlockGradients:
    """Run the backward pass from ``roots`` and return what reaches each block's parameters.

    Args:
        handle: What is attached.
        roots: Where the backward pass starts: losses or outputs.
        errors: The gradient with respect to each root; None for a scalar stands for 1.
    """
    blocks = [[parameter for _, parameter in block.parameters()] for block in handle.blocks]
    learning = list({id(p): p for block in blocks for p in block if p.requires_grad}.values())
    starts = [(root, error) for root, error in zip(roots, errors, strict=True) if root.grad_fn]
    if not learning or not starts:
        return [[None] * len(block) for block in blocks]
    found = torch.autograd.grad(
        [root for root, _ in starts], learning, [error for _, error in starts], allow_unused=True
    )
    gradient = dict(zip(map(id, learning), found, strict=True))
    return [[gradient.get(id(parameter)) for parameter in block] for block in blocks]
