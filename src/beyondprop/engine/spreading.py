"""Checks of models whose parameters or gradients are distributed over several processes."""

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from beyondprop._torch.private import hook_tables, waits_for_all
from beyondprop._torch.spread import gathers, is_spread, part_of
from beyondprop.core import At, Block
from beyondprop.engine.detach import EndOfBlock
from beyondprop.engine.joint import Joint
from beyondprop.errors import UserError


def check_spreading(model: nn.Module, blocks: Iterable[Block], joint: Joint) -> None:
    """Check that blocks are taught as they would be in one process.

    Args:
        model: The model.
        blocks: Its blocks whose graphs end.
        joint: The joint schedule, which has all ends by now.

    Raises:
        UserError: A block's graph ends before its output is gathered, or at one shard of it.
    """
    if not any(map(is_spread, model.parameters())):
        return
    for block in blocks:
        if block.rule.traits.learns and block.modules and _is_overtaken(block.modules[-1][1]):
            raise UserError(
                f"block '{block.name}' was sharded over processes after the rules were attached, "
                "so its graph would end too early: call fully_shard or parallelize_module first, "
                "then attach"
            )
    for at in () if gathers(model) else _places(joint):
        if _is_part(at):
            raise UserError(
                f"block '{at.block.name}' returns a part of its features in each process, and the "
                "parts would get different signals: end it after a layer whose output is complete, "
                "such as RowwiseParallel"
            )


def check_frozen(blocks: Iterable[Block]) -> None:
    """Check that nothing waits for the gradients of blocks that get none.

    Raises:
        UserError: `DistributedDataParallel` does, and would fail in its second step.
    """
    if torch.compiler.is_compiling() or not waits_for_all():
        return
    for block in blocks:
        if any(p.requires_grad for _, p in block.parameters()):
            raise UserError(
                f"{type(block.rule).__name__} gives '{block.name}' no gradient, and "
                "DistributedDataParallel waits for a gradient of each parameter: pass it "
                "find_unused_parameters=True, or call requires_grad_(False) on frozen parameters "
                "before wrapping"
            )


def _is_overtaken(module: nn.Module) -> bool:
    """Whether hooks that gather a module's output are called after the hook at the block's end."""
    hooks = [isinstance(hook, EndOfBlock) for hook in hook_tables(module)[0].values()]
    return any(hooks) and not hooks[-1] and any(map(is_spread, module.parameters()))


def _places(joint: Joint) -> Iterator[At]:
    for small, tie in zip(joint.ends, joint.ties, strict=True):
        end = small or getattr(tie.grad_fn, "end", None)
        if end is not None:
            yield end.at


def _is_part(at: At) -> bool:
    """Whether the block's last matrix is sharded along its outputs, and the block's output too."""
    last = next((p for _, p in reversed(at.block.parameters()) if p.dim() > 1), None)
    if last is None or not is_spread(last):
        return False
    own = part_of(last)[0]
    return own < len(last) and at.shape[-1] == own
