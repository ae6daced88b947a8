"""Self-contrastive forward-forward."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop._torch.modules import has_parameters, is_chain
from beyondprop.core import At, Block, Host, LossRule, Traits
from beyondprop.errors import UserError
from beyondprop.models.goodness import goodness
from beyondprop.registry.limits import NotNegative, Positive
from beyondprop.rules.local.base import LOCAL
from beyondprop.shapes import axes_of, channels_first

SAMPLES = 2
"""Minimum number of samples in a batch, for a pair of unlike ones."""


@dataclass(frozen=True)
class SelfContrastiveForwardForward(LossRule):
    """Self-contrastive forward-forward: blocks separate like from unlike pairs, without labels.

    In addition to the batch, each block runs on pairs of inputs: every input paired with itself,
    and every input paired with the next one in the batch, ``x⁺ = x_k + x_k`` and ``x⁻ = x_k + x_n``
    (the concatenation of two inputs under a shared weight, as in the paper, is equivalent to their
    sum). Each block minimises ``mean softplus(θ - G⁺) + mean softplus(G⁻ - θ⁻) + λ mean G⁺`` with
    ``G`` the mean of its squared positive activities (Chen, Liu, Laydevant and Grollier 2025,
    equations 3 to 5), and passes its outputs for the pairs to the next block. The output block,
    which keeps its exact gradient, is a probe of the features learned without labels.

    The released code differs: ``positions=True``, and ``share=0.5`` if the first block doubles the
    output of its layer (see `models.goodness.Doubled`).

    Args:
        threshold: θ, the goodness that separates like and unlike pairs.
        calming: λ, the weight of the penalty on activity.
        unlike_threshold: θ⁻, the threshold of unlike pairs; by default θ.
        positions: Whether G has one value for each position of a map or token, the mean over its
            channels; λ is then the weight of the norm of the positions' vector G⁺.
        share: Factor on each of the two inputs of a pair.
    """

    name: ClassVar[str] = "scff"
    traits: ClassVar[Traits] = LOCAL.but(
        sends_gradient=False,
        drawn_once=frozenset(),
        samples=SAMPLES,
        alone=(
            "it pairs the samples of a batch, and each process would pair only its own; use one "
            "process with the whole batch"
        ),
    )
    threshold: NotNegative = 1.0
    calming: NotNegative = 0.0
    unlike_threshold: NotNegative | None = None
    positions: bool = False
    share: Positive = 1.0

    def loss(self, at: At) -> Tensor:
        """Return the loss of like and unlike pairs."""
        pairs = at.run.shared.get(id(self))
        if pairs is None:
            pairs = _pairs(at) if self.share == 1 else _pairs(at) * self.share
        pairs = at.run.run(at.block, pairs)
        at.run.shared[id(self)] = pairs.detach()
        active = F.relu(pairs)
        if self.positions:
            channels = 1 if channels_first(active, at.axes) else -1
            found = active.square().mean(channels, keepdim=True).flatten(1)  # (pairs, positions)
            like, unlike = found.chunk(2)
            activity = like.norm(dim=1)
        else:
            like, unlike = goodness(active).chunk(2)  # (batch,)
            activity = like
        highest = self.threshold if self.unlike_threshold is None else self.unlike_threshold
        told = F.softplus(self.threshold - like).mean() + F.softplus(unlike - highest).mean()
        loss: Tensor = told + self.calming * activity.mean()
        return loss

    def install(self, block: Block, host: Host) -> str:
        """End the graph at the block's output, and check that the block before it sends pairs."""
        blocks = host.blocks
        if any(before.rule is not self for before in blocks[: blocks.index(block)]):
            raise UserError(
                "SelfContrastiveForwardForward must teach consecutive blocks, starting with the "
                "first, as the pairs pass from block to block"
            )
        return super().install(block, host)

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence if the pairs cannot pass from block to block."""
        for around in _around(block):
            if not is_chain(around):
                yield (
                    "SelfContrastiveForwardForward sends pairs of inputs from block to block, so "
                    f"it teaches an nn.Sequential, not a {type(around).__name__}"
                )
                return


def _around(block: Block) -> Iterator[nn.Module]:
    """Yield the model, and the modules between it and the block."""
    yield block.owner
    parts = block.name.split(".")[:-1]
    for end in range(1, len(parts) + 1):
        yield block.owner.get_submodule(".".join(parts[:end]))


def _dims(block: Block) -> int:
    """Return the minimum number of axes of a batch of the block's inputs."""
    leaves = (m for _, m in block.named_modules() if has_parameters(m) and not any(m.children()))
    return axes_of([next(leaves, block.modules[0][1])]).dims or 2


def _pairs(at: At) -> Tensor:
    """Return the first block's pairs, ``(2 * batch, ...)``."""
    x = None if at.run.inputs is None else at.run.inputs.detach()
    if at.block.depth > 0 or x is None or not x.is_floating_point():
        raise UserError(
            "SelfContrastiveForwardForward adds inputs to one another, so it must teach the first "
            "block of the chain, and the input must be a tensor of floats"
        )
    if x.dim() < _dims(at.block):
        raise UserError(
            "SelfContrastiveForwardForward pairs the inputs of a batch, but an input of shape "
            f"{tuple(x.shape)} has no batch dimension: stack several"
        )
    if len(x) < SAMPLES:
        raise UserError(
            "SelfContrastiveForwardForward pairs inputs, so it needs at least two, but this batch "
            "has one: choose a batch size that leaves no single sample at the end"
        )
    return torch.cat([x + x, x + x.roll(-1, 0)])


REGISTERED = (SelfContrastiveForwardForward,)
