"""The measured answer to 'Isn't loss.backward() just backprop?'."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves
from beyondprop.core import Block
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import untouched
from beyondprop.errors import UserError
from beyondprop.measure.gradients import BlockGradients, gradients_of_blocks
from beyondprop.measure.isolation_text import describe

Matrix = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Isolation:
    """What `isolation` found; ``print`` it.

    Attributes:
        blocks: Names of the blocks, in the order they run.
        changes: ``changes[k][j]``: how much the gradient of block k changed, relative to its norm,
            when the weights of block j were changed; None unless j is later than k, and where
            block k gets no gradient.
        backprop: The same under exact gradients: what the measurement sees where blocks are not
            isolated.
        crossings: Names of the blocks through whose input a gradient left, to an earlier block.
    """

    blocks: tuple[str, ...]
    changes: Matrix
    backprop: Matrix
    crossings: tuple[str, ...]

    @property
    def isolated(self) -> bool:
        """Whether no gradient changed, to the last bit, and none crossed to another block."""
        return not self.crossings and not any(change for row in self.changes for change in row)

    def __str__(self) -> str:
        return describe(self.blocks, self.changes, self.backprop, self.crossings, self.isolated)


def isolation(handle: Attachment, inputs: Any, targets: Tensor | None = None) -> Isolation:
    """Whether each block learns without the blocks after it, tried by changing their weights.

    The error at the model's output is held fixed while the weights of every block are changed in
    turn. Backprop carries the error through those weights, so the gradients of earlier blocks
    change; a rule that sends every block its own signal leaves them the same to the last bit. It is
    also watched whether any gradient leaves a block through its input. The model, its weights bit
    by bit, and its modes are left as they were found.

    Cost: about two forward and backward passes for each block.

    Args:
        handle: What `attach` returned.
        inputs: One batch for the model, on its device.
        targets: Targets of the batch, for rules that need them.

    Raises:
        UserError: There is only one block, or the rule needs targets and there are none.
    """
    if len(handle.blocks) < 2:
        raise UserError("isolation compares blocks with one another, and the model has only one")
    if handle.needs_targets and targets is None:
        raise UserError("a rule attached to the model needs targets: give isolation the targets")
    changes = _changes(handle, inputs, targets)
    with exact_gradients(handle.model):
        backprop = _changes(handle, inputs, targets)
    names = tuple(block.name for block in handle.blocks)
    return Isolation(names, changes, backprop, _crossings(handle, inputs, targets))


def _changes(handle: Attachment, inputs: Any, targets: Tensor | None) -> Matrix:
    """Return the relative change of each block's gradient for each later block changed."""
    before = _gradients(handle, inputs, targets)
    rows: list[list[float | None]] = [[None] * len(before) for _ in before]
    for j, block in enumerate(handle.blocks):
        with _changed_weights(block):
            after = _gradients(handle, inputs, targets)
        for k in range(j):
            rows[k][j] = _relative_change(before[k], after[k])
    return tuple(tuple(row) for row in rows)


def _gradients(handle: Attachment, inputs: Any, targets: Tensor | None) -> BlockGradients:
    with untouched(handle.model), torch.enable_grad():
        with nullcontext() if targets is None else handle.targets(targets):
            outputs = [t for t in leaves(handle.model(inputs)) if t.is_floating_point()]
        generator = torch.Generator().manual_seed(0)
        errors = [torch.randn(t.shape, generator=generator).to(t) for t in outputs]
        return gradients_of_blocks(handle, outputs, errors)


@contextmanager
def _changed_weights(block: Block) -> Iterator[None]:
    """Give the block other weights; its own are set aside, never written to."""
    generator = torch.Generator().manual_seed(1)
    own = [(parameter, parameter.data) for _, parameter in block.parameters()]
    try:
        for parameter, data in own:
            noise = torch.randn(data.shape, generator=generator).to(data)
            parameter.data = data + noise * (data.abs().mean() or 1.0)
        yield
    finally:
        for parameter, data in own:
            parameter.data = data


def _relative_change(
    before: Sequence[Tensor | None], after: Sequence[Tensor | None]
) -> float | None:
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if not pairs:
        return None
    change = math.sqrt(sum((a.double() - b.double()).square().sum().item() for b, a in pairs))
    size = math.sqrt(sum(b.double().square().sum().item() for b, _ in pairs))
    return change / size if size else math.inf if change else 0.0


def _crossings(handle: Attachment, inputs: Any, targets: Tensor | None) -> tuple[str, ...]:
    """Return the blocks through whose input a gradient leaves."""
    crossed: set[str] = set()

    def watch(name: str) -> Any:
        def pre_hook(_module: nn.Module, arguments: Any, keywords: Any) -> None:
            for tensor in leaves((arguments, keywords)):
                if tensor.requires_grad:
                    tensor.register_hook(lambda _gradient: crossed.add(name))

        return pre_hook

    hooks = [
        block.modules[0][1].register_forward_pre_hook(watch(block.name), with_kwargs=True)
        for block in handle.blocks[1:]
        if block.modules
    ]
    try:
        _gradients(handle, inputs, targets)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(block.name for block in handle.blocks if block.name in crossed)
