"""Averages all gradients over processes, including those of feedback and heads."""

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parameter import is_lazy

from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.schedules.messages import reaching, share

BUCKET = 25 * 2**20
"""Bytes of gradients that are averaged in one call, as DistributedDataParallel does."""


class DataParallel:
    """Trains a model on several processes, each with a part of every batch.

    DistributedDataParallel averages only gradients of the wrapped model. Heads and learned feedback
    belong to the handle, not to the model, so for rules that have them, this class averages all
    gradients: call ``average()`` between ``loss.backward()`` and ``optimizer.step()``. It works
    with every rule that learns from means over samples, if all processes have the same number of
    samples. Buffers (running statistics) are synchronised only at the start; each process then
    keeps its own.

    Args:
        handle: The attachment to the model, the same on every process. Its weights, buffers and
            feedback become those of the first process.

    Raises:
        UserError: There are no processes, a rule cannot be averaged, or a process cannot be
            reached.
    """

    def __init__(self, handle: Attachment) -> None:
        self.handle = handle
        if not dist.is_available() or not dist.is_initialized():
            raise UserError(
                "several processes are needed: start the script with `torchrun --nproc-per-node 2` "
                "and call torch.distributed.init_process_group() first"
            )
        for rule in {id(block.rule): block.rule for block in handle.blocks}.values():
            if rule.traits.alone and not rule.traits.averages:
                raise UserError(
                    f"{type(rule).__name__} does not teach on several processes: "
                    f"{rule.traits.alone}"
                )
        self._begin_alike()
        handle.passes.state.averaged = True

    def average(self) -> None:
        """Average every gradient over the processes, all of which must call it.

        If only some processes have a gradient for a parameter, the others count as zero.

        Raises:
            UserError: A process cannot be reached.
        """
        learned = [p for p in self._learned() if p.requires_grad and not is_lazy(p)]
        if not learned:
            return
        has_one = [int(parameter.grad is not None) for parameter in learned]
        found = torch.tensor(has_one, dtype=torch.int32, device=learned[0].device)
        with reaching([dist.get_rank()]):
            dist.all_reduce(found, dist.ReduceOp.MAX)
        for parameter, has in zip(learned, found.tolist(), strict=True):
            if has and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in learned if p.grad is not None]
        for bucket in buckets(gradients, BUCKET):
            _average(bucket)

    def _begin_alike(self) -> None:
        tensors = [*self.handle.model.parameters(), *self.handle.model.buffers()]
        with reaching([0]):
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)
        feedback = share(self.handle.state_dict(), 0)
        if dist.get_rank():
            self.handle.load_state_dict(feedback)

    def _learned(self) -> list[torch.nn.Parameter]:
        return [*self.handle.model.parameters(), *self.handle.parameters()]


def buckets(tensors: Sequence[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Yield groups of tensors with one dtype, each within the byte limit or a single tensor."""
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for alike in by_dtype.values():
        bucket: list[Tensor] = []
        for tensor in alike:
            if bucket and sum(t.nbytes for t in [*bucket, tensor]) > size:
                yield bucket
                bucket = []
            bucket.append(tensor)
        yield bucket


def _average(gradients: Sequence[Tensor]) -> None:
    together = torch.cat([gradient.flatten() for gradient in gradients])
    with reaching([dist.get_rank()]):
        dist.all_reduce(together)
    together /= dist.get_world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, together.split(sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))
