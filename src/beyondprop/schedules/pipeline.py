"""Blocks on several processes, which do not wait for an error from behind."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from beyondprop.core import Rule
from beyondprop.engine.attach import attach
from beyondprop.errors import UserError
from beyondprop.registry import checked
from beyondprop.registry.limits import Count
from beyondprop.schedules import balance
from beyondprop.schedules.messages import Outbox, receive, share
from beyondprop.schedules.scattered import Scattered
from beyondprop.schedules.stage import Loss, Pass, Stage
from beyondprop.schedules.suitable import (
    check_batch,
    check_handle,
    check_processes,
    check_sizes,
)

AHEAD = 2
"""Batches that a stage may be ahead of the next one."""


class Pipeline:
    """A chain whose blocks live on the processes of `torch.distributed`, a stage on each.

    A stage runs its blocks on a micro-batch, sends the output on and goes on at once. Under local
    rules (`LocalLoss`, `DirectRandomTargetProjection`, `Frozen`) it then learns without waiting for
    later stages, so it may be a batch ahead. Under `DirectFeedbackAlignment` the last stage sends
    the output error, ``(batch, outputs)``, to all stages at once, and all learn at the same time.
    There is no backward wave. Every stage steps once a batch, by the gradients of all its
    micro-batches, weighted as in a mean: the result is the one of a single process that does so.

    Every process builds the same model from the same seed; it keeps only its own stage's weights
    until `gather`. Dropout draws from each process's own generator.

    Args:
        model: An `nn.Sequential`, on the device that this process computes on.
        rule: As for `attach`.
        optimizer: Makes the optimizer of a list of parameters, ``partial(SGD, lr=0.1)``. It must
            leave alone what has no gradient, as PyTorch's do.
        loss: (outputs, targets) to the mean loss of a batch.
        chunks: Micro-batches a batch is split into.
        blocks: As for `attach`.
        sizes: How many blocks each stage gets. By default the first process counts in the first
            step the operations of each, and the stage with the most has as few as can be.

    Attributes:
        handle: What is attached to the model.
        optimizer: Over all parameters; learning rates may be changed on every process.

    Raises:
        UserError: There are no processes, the model is not a chain, or the rule needs a backward
            wave.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: Rule | Mapping[str, Rule],
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        loss: Loss,
        chunks: int = 4,
        blocks: Sequence[str | Sequence[str]] | None = None,
        sizes: Sequence[int] | None = None,
    ) -> None:
        check_processes(model)
        chunks = checked("chunks", chunks, Count)
        self.handle = attach(model, rule, blocks)
        try:
            check_handle(self.handle, dist.get_world_size())
            if sizes is not None:
                check_sizes(self.handle, sizes, dist.get_world_size())
        except UserError:
            self.handle.remove()
            raise
        self.handle.passes.state.averaged = True
        self.optimizer = optimizer([*model.parameters(), *self.handle.parameters()])
        self.loss = loss
        self.chunks = chunks
        self.sizes = None if sizes is None else list(sizes)
        self.rank, self.last = dist.get_rank(), dist.get_world_size() - 1
        self._waits = not all(block.rule.traits.immediate for block in self.handle.blocks)
        self._device = next(model.parameters()).device
        self._outbox = Outbox(AHEAD * chunks)
        self._scattered: Scattered | None = None

    @torch.enable_grad()
    def step(self, inputs: Tensor | None, targets: Tensor) -> Tensor | None:
        """Learn from a batch; every process must call it with the same one.

        Args:
            inputs: ``(batch, ...)``. The first stage uses it, and those whose rule reads the
                model's input (`InfoPro`); elsewhere it may be None.
            targets: ``(batch, ...)``.

        Returns:
            The mean loss on the last stage, None on the others.

        Raises:
            UserError: A stage is gone, or this one was given another batch.
        """
        check_batch(inputs, targets, first=self.rank == 0)
        scattered = self._scatter(inputs, targets)
        scattered.release()
        stage = Stage(self.handle, scattered.stages[self.rank])
        self.optimizer.zero_grad()
        losses, waiting = [], []
        for x, y in self._chunks(inputs, targets):
            passed = stage.forward(self._entry(x, y), y, x, len(y) / len(targets))
            if self.rank == self.last:
                losses.append(stage.finish(passed, y, self.loss))
                self._tell(passed)
            else:
                behind = self.rank + 1
                self._outbox.send(passed.output, partial(dist.isend, dst=behind), [behind])
            if self._waits:
                waiting.append(passed)
            else:
                stage.learn(passed)
        for passed in waiting:
            stage.learn(passed, self._error(passed))
        self.optimizer.step()
        return torch.stack(losses).sum() if losses else None

    def gather(self) -> None:
        """Bring the whole model to every process, to be evaluated or saved.

        Every process must call it, also after the last step. Then ``model``, ``handle.state_dict``
        and ``optimizer.state_dict`` are as if this process had trained alone, until the next step.

        Raises:
            UserError: A stage is gone.
        """
        self._outbox.empty()
        if self._scattered is not None:
            self._scattered.gather()

    def _scatter(self, inputs: Tensor | None, targets: Tensor) -> Scattered:
        """Return the stages, chosen in the first step."""
        if self._scattered is None:
            if self.sizes is None:
                self.sizes = share(self._balanced(inputs, targets), 0)
            ends = list(accumulate(self.sizes))
            starts = [0, *ends]
            stages = [self.handle.blocks[a:b] for a, b in zip(starts, ends, strict=False)]
            self._scattered = Scattered(self.handle, self.optimizer, stages)
        return self._scattered

    def _balanced(self, inputs: Tensor | None, targets: Tensor) -> list[int] | None:
        """Return how many blocks each stage gets, on the first process."""
        if self.rank:
            return None
        x, y = next(self._chunks(inputs, targets))
        assert x is not None
        costs = balance.counted_costs(self.handle, x, y, self.loss)
        counts = balance.partition(costs, self.last + 1)
        parts: Any = iter(balance.units(self.handle))
        return [sum(len(next(parts)) for _ in range(count)) for count in counts]

    def _chunks(
        self, inputs: Tensor | None, targets: Tensor
    ) -> Iterator[tuple[Tensor | None, Tensor]]:
        y = targets.chunk(self.chunks)
        x = [None] * len(y) if inputs is None else inputs.chunk(self.chunks)
        yield from zip(x, y, strict=True)

    def _entry(self, x: Tensor | None, y: Tensor) -> Tensor:
        """Return what this stage's first block is given."""
        if self.rank == 0:
            assert x is not None
            return x
        entry = receive(partial(dist.irecv, src=self.rank - 1), self.rank - 1, self._device)
        if len(entry) != len(y):
            raise UserError(
                f"stage {self.rank} got {len(entry)} samples for {len(y)} targets: every process "
                "must step through the same batches, in the same order"
            )
        return entry

    def _tell(self, passed: Pass) -> None:
        """Send the error at the output to all stages, where a rule waits for it."""
        if self._waits and self.last:
            assert passed.error is not None
            others = list(range(self.last))
            self._outbox.send(passed.error, partial(_broadcast, self.last), others)

    def _error(self, passed: Pass) -> Tensor:
        if passed.error is not None:
            return passed.error
        return receive(partial(_broadcast, self.last), self.last, self._device)


def _broadcast(source: int, tensor: Tensor) -> Any:
    return dist.broadcast(tensor, source, async_op=True)
