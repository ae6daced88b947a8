"""Blocks on several processes, which do not wait for errors from later blocks."""

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
"""The maximum number of batches by which a stage may be ahead of the next one."""


class Pipeline:
    """A chain whose blocks are distributed over the processes of `torch.distributed`, as stages.

    A stage runs its blocks on a micro-batch, sends the output on and continues immediately. Under
    local rules (`LocalLoss`, `DirectRandomTargetProjection`, `Frozen`) it then learns without
    waiting for later stages, so it may be a batch ahead. Under `DirectFeedbackAlignment` the last
    stage broadcasts the output error, ``(batch, outputs)``, to all stages, which learn in parallel.
    There is no sequential backward pass. Every stage steps once per batch on the weighted mean of
    the gradients of its micro-batches; the result equals that of a single process with the same
    micro-batches.

    Every process builds the same model from the same seed; it keeps only its own stage's weights
    until `gather`. Dropout draws from each process's own generator.

    Args:
        model: An `nn.Sequential`, on this process's device.
        rule: As for `attach`.
        optimizer: Builds the optimizer from a list of parameters, ``partial(SGD, lr=0.1)``. It must
            skip parameters without a gradient, as PyTorch's optimizers do.
        loss: Maps (outputs, targets) to the mean loss of a batch.
        chunks: The number of micro-batches into which a batch is split.
        blocks: As for `attach`.
        sizes: The number of blocks in each stage. By default the first process counts the
            operations of each block in the first step, and minimises those of the largest stage.

    Attributes:
        handle: The attachment to the model.
        optimizer: The optimizer of all parameters; learning rates may be changed on every process.

    Raises:
        UserError: There are no processes, the model is not a chain, or the rule needs a sequential
            backward pass.
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
        """Learn from a batch; every process must call it with the same batch.

        Args:
            inputs: The inputs, ``(batch, ...)``. The first stage uses them, and so do stages whose
                rule reads the model's input (`InfoPro`); on other stages they may be None.
            targets: The targets, ``(batch, ...)``.

        Returns:
            The mean loss on the last stage, None on the others.

        Raises:
            UserError: A stage cannot be reached, or this one was given another batch.
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
        """Bring the complete model to every process, to evaluate or save it.

        Every process must call it, including after the last step. Until the next step, ``model``,
        ``handle.state_dict`` and ``optimizer.state_dict`` are then as if this process had trained
        alone.

        Raises:
            UserError: A stage cannot be reached.
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
        """Return the number of blocks in each stage on the first process, None on the others."""
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
        """Return the input of this stage's first block."""
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
        """Send the output error to all stages, if a rule waits for it."""
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
