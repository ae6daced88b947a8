"""What a pipeline cannot do, found before it begins."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import Tensor, nn

from beyondprop.errors import UserError

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.engine.blocks import Block

INSTEAD = "use LocalLoss(), DirectFeedbackAlignment() or another rule that cuts, or one process"


def check_processes(model: nn.Module) -> None:
    """Raise a `UserError` where there are no processes, or the model is no chain."""
    from beyondprop.engine.blocks import is_chain
    from beyondprop.slots import machine_of

    if not dist.is_available() or not dist.is_initialized():
        raise UserError(
            "several processes are needed: start the script by `torchrun --nproc-per-node 2` and "
            "call torch.distributed.init_process_group() first"
        )
    if machine_of(model) is not None:
        raise UserError(
            "a pipeline cannot train slots: their scores live in one process; leave it out"
        )
    if not is_chain(model):
        raise UserError(
            f"a pipeline sends each block's output to the next, and {type(model).__name__} is not "
            "a chain of modules: put its parts into an nn.Sequential"
        )


def check_handle(handle: "Attachment", stages: int) -> None:
    """Raise a `UserError` that lists why what is attached cannot be split among so many stages."""
    from beyondprop.schedules.balance import units

    problems = list(dict.fromkeys(_problems(handle)))
    places = len(units(handle))
    if not problems and places < stages:
        problems.append(
            f"there are {stages} processes, and only {places} parts that need no error from "
            "behind: start fewer processes, or name more blocks"
        )
    if problems:
        raise UserError("no pipeline can be made: " + "; ".join(problems))


def check_sizes(handle: "Attachment", sizes: Sequence[int], stages: int) -> None:
    """Raise a `UserError` where stages of so many blocks cannot be made."""
    count = len(handle.blocks)
    if len(sizes) != stages or min(sizes) < 1 or sum(sizes) != count:
        raise UserError(
            f"sizes= must be {stages} whole numbers from 1, one a process, that add up to the "
            f"{count} blocks; got {list(sizes)}"
        )
    end = 0
    for size in sizes[:-1]:
        end += size
        if handle.cut_of(handle.blocks[end - 1]) is None:
            raise UserError(
                f"sizes={list(sizes)} splits behind block '{handle.blocks[end - 1].name}', which "
                "learns by the exact gradient of the next one: keep the two together"
            )


def check_batch(inputs: Tensor | None, targets: Tensor, first: bool) -> None:
    """Raise a `UserError` where a batch cannot be split into micro-batches."""
    if inputs is None and first:
        raise UserError("the first stage needs the inputs: call step(x, y) with both")
    if not len(targets) or (inputs is not None and len(inputs) != len(targets)):
        raise UserError(
            f"inputs and targets must have one entry a sample, and one at least; got "
            f"{None if inputs is None else len(inputs)} and {len(targets)}"
        )


def _problems(handle: "Attachment") -> Iterator[str]:
    from beyondprop.engine.blocks import children

    parts = [module for block in handle.blocks for _, module in block.modules]
    if parts != [module for _, module in children(handle.model)]:
        yield "some child of the model lies in no block: name blocks= so that they hold all"
    for block in handle.blocks[:-1]:
        called, cut = type(block.rule).__name__, handle.cut_of(block)
        if block.rule.whole:
            yield f"{called} teaches the model as a whole: {INSTEAD}"
        elif block.rule.alone and not block.rule.averages:
            yield f"{called} needs all samples in one process: {block.rule.alone}"
        elif cut is not None and cut.reader is not None:
            yield f"{called} learns its feedback as well, from the model's errors: {INSTEAD}"
        elif cut is None and not _exact(block, handle):
            yield (
                f"under {called} a block's signal comes from the blocks behind it, one after "
                f"another, so every stage would wait for the next: {INSTEAD}"
            )
    if handle.cut_of(handle.blocks[-1]) is not None:
        yield f"the last block learns nothing from the loss: {INSTEAD}"


def _exact(block: "Block", handle: "Attachment") -> bool:
    """Whether a block learns by the exact gradient of the next, and others are cut off."""
    from beyondprop.rules import Backprop

    cut_off = any(handle.cut_of(other) is not None for other in handle.blocks)
    return isinstance(block.rule, Backprop) and cut_off
