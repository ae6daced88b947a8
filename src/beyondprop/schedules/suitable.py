"""Checks, before a pipeline starts, that it can train the model."""

from collections.abc import Iterator, Sequence

import torch.distributed as dist
from torch import Tensor, nn

from beyondprop._torch.modules import children, is_chain
from beyondprop.core import Block
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.schedules.balance import units
from beyondprop.slots import machine_of

INSTEAD = (
    "use LocalLoss(), DirectFeedbackAlignment() or another rule that ends graphs, or one process"
)


def check_processes(model: nn.Module) -> None:
    """Raise a `UserError` if there are no processes, or the model is not a chain."""
    if not dist.is_available() or not dist.is_initialized():
        raise UserError(
            "several processes are needed: start the script with `torchrun --nproc-per-node 2` and "
            "call torch.distributed.init_process_group() first"
        )
    if machine_of(model) is not None:
        raise UserError(
            "a pipeline cannot train slots, as one process holds their scores: train without the "
            "pipeline"
        )
    if not is_chain(model):
        raise UserError(
            f"a pipeline sends each block's output to the next, and {type(model).__name__} is not "
            "a chain of modules: put its parts into an nn.Sequential"
        )


def check_handle(handle: Attachment, stages: int) -> None:
    """Raise a `UserError` that lists why the attachment cannot be split into this many stages."""
    problems = list(dict.fromkeys(_problems(handle)))
    places = len(units(handle))
    if not problems and places < stages:
        problems.append(
            f"there are {stages} processes, but only {places} parts that need no error from later "
            "layers: start fewer processes, or name more blocks"
        )
    if problems:
        raise UserError("no pipeline can be made: " + "; ".join(problems))


def check_sizes(handle: Attachment, sizes: Sequence[int], stages: int) -> None:
    """Raise a `UserError` if stages with these numbers of blocks cannot be made."""
    count = len(handle.blocks)
    if len(sizes) != stages or min(sizes) < 1 or sum(sizes) != count:
        raise UserError(
            f"sizes= must be {stages} whole numbers of at least 1, one per process, that add up to "
            f"the {count} blocks; got {list(sizes)}"
        )
    end = 0
    for size in sizes[:-1]:
        end += size
        if handle.taught(handle.blocks[end - 1]) is None:
            raise UserError(
                f"sizes={list(sizes)} splits after block '{handle.blocks[end - 1].name}', which "
                "learns from the exact gradient of the next one: keep the two together"
            )


def check_batch(inputs: Tensor | None, targets: Tensor, first: bool) -> None:
    """Raise a `UserError` if a batch cannot be split into micro-batches."""
    if inputs is None and first:
        raise UserError("the first stage needs the inputs: call step(x, y) with both")
    if not len(targets) or (inputs is not None and len(inputs) != len(targets)):
        raise UserError(
            "inputs and targets must have one entry per sample, and at least one; got "
            f"{None if inputs is None else len(inputs)} and {len(targets)}"
        )


def _problems(handle: Attachment) -> Iterator[str]:
    parts = [module for block in handle.blocks for _, module in block.modules]
    if parts != [module for _, module in children(handle.model)]:
        yield "a child of the model is in no block: name blocks= that include all children"
    for block in handle.blocks[:-1]:
        called, traits = type(block.rule).__name__, block.rule.traits
        taught = handle.taught(block)
        if traits.whole_model:
            yield f"{called} trains the complete model: {INSTEAD}"
        elif traits.alone and not traits.averages:
            yield f"{called} needs all samples in one process: {traits.alone}"
        elif {"error", "output"} <= traits.needs or "sent_back" in traits.needs:
            yield f"{called} needs more than the model's error from other stages: {INSTEAD}"
        elif taught is not None and taught.deferred and taught.state:
            yield (
                f"{called} computes gradients for its own state, which stages do not send: "
                f"{INSTEAD}"
            )
        elif not traits.ends_graph and not _exact(block, handle):
            yield (
                f"under {called} a block's signal comes from the blocks after it, one after "
                f"another, so every stage would wait for the next: {INSTEAD}"
            )
    if handle.blocks[-1].rule.traits.ends_graph:
        yield f"the last block learns nothing from the loss: {INSTEAD}"


def _exact(block: Block, handle: Attachment) -> bool:
    """Whether a block learns from the exact gradient of the next, and other blocks end graphs."""
    ends = any(handle.taught(other) is not None for other in handle.blocks)
    return block.rule.traits.exact and ends
