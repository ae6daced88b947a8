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
from beyondprop.registry.limits import NotNegative
from beyondprop.rules.local.base import LOCAL
from beyondprop.shapes import axes_of

SAMPLES = 2
"""In a batch at least, to make a pair of unlike ones."""


@dataclass(frozen=True)
class SelfContrastiveForwardForward(LossRule):
    """Self-contrastive forward-forward: blocks tell like pairs from unlike ones, without labels.

    Beside the batch runs another: every input added to itself, then every input added to the next
    one in the batch, ``x⁺ = x_k + x_k`` and ``x⁻ = x_k + x_n`` (two inputs side by side under one
    weight, as published, are their sum). Each block lowers ``mean softplus(θ - G⁺) + mean
    softplus(G⁻ - θ) + λ mean G⁺`` with ``G`` the mean of its squared positive activities (Chen,
    Liu, Laydevant and Grollier 2025, equations 3 to 5), and hands on what it made of the pairs. The
    output block, which keeps its exact gradient, is a probe of what was learned without labels.

    Args:
        threshold: θ, the goodness between like and unlike pairs.
        calming: λ, how much activity costs.
    """

    name: ClassVar[str] = "scff"
    traits: ClassVar[Traits] = LOCAL.but(
        sends_gradient=False,
        drawn_once=frozenset(),
        samples=SAMPLES,
        alone=(
            "it pairs the samples of a batch, and each process would pair its own alone; use one "
            "process with the whole batch"
        ),
    )
    threshold: NotNegative = 1.0
    calming: NotNegative = 0.0

    def loss(self, at: At) -> Tensor:
        """Return the loss of both halves of the pairs."""
        pairs = at.run.shared.get(id(self))
        if pairs is None:
            pairs = _pairs(at)
        pairs = at.run.run(at.block, pairs)
        at.run.shared[id(self)] = pairs.detach()
        like, unlike = goodness(F.relu(pairs)).chunk(2)
        told = F.softplus(self.threshold - like).mean() + F.softplus(unlike - self.threshold).mean()
        return told + self.calming * like.mean()

    def install(self, block: Block, host: Host) -> str:
        """End the graph at the block's output, and see that the block before it sends pairs."""
        blocks = host.blocks
        if any(before.rule is not self for before in blocks[: blocks.index(block)]):
            raise UserError(
                "SelfContrastiveForwardForward must teach the chain from its first block on, with "
                "no other rule between: the pairs go from block to block"
            )
        return super().install(block, host)

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence where the pairs would not find their way."""
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
    """Return how many axes a batch of the block's inputs has at least."""
    leaves = (m for _, m in block.named_modules() if has_parameters(m) and not any(m.children()))
    return axes_of([next(leaves, block.modules[0][1])]).dims or 2


def _pairs(at: At) -> Tensor:
    """Return what the first block gets beside the batch: ``(2 * batch, ...)``."""
    x = None if at.run.inputs is None else at.run.inputs.detach()
    if at.block.depth > 0 or x is None or not x.is_floating_point():
        raise UserError(
            "SelfContrastiveForwardForward adds inputs to one another, so it must teach the chain "
            "from its first block on, and the input must be a tensor of floats"
        )
    if x.dim() < _dims(at.block):
        raise UserError(
            "SelfContrastiveForwardForward pairs the inputs of a batch, and an input of shape "
            f"{tuple(x.shape)} has no batch dimension: stack several"
        )
    if len(x) < SAMPLES:
        raise UserError(
            "SelfContrastiveForwardForward pairs inputs, so it needs two at least, and here is a "
            "batch of one: choose a batch size that leaves no single one at the end"
        )
    return torch.cat([x + x, x + x.roll(-1, 0)])


REGISTERED = (SelfContrastiveForwardForward,)
