"""Distributes blocks over stages so that the slowest stage is as fast as possible."""

import math
from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor

from beyondprop.core import Block
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import untouched
from beyondprop.schedules.stage import Loss, Stage


def units(handle: Attachment) -> list[list[Block]]:
    """Return the blocks of a chain in runs that end in a cut: a pipeline may split between them."""
    found: list[list[Block]] = [[]]
    for block in handle.blocks:
        found[-1].append(block)
        if handle.taught(block) is not None:
            found.append([])
    return [unit for unit in found if unit]


def counted_costs(handle: Attachment, inputs: Tensor, targets: Tensor, loss: Loss) -> list[int]:
    """Return the cost to run and train each of `units`, the same on every machine.

    The cost is the number of floating-point operations, plus one for each number that the unit
    learns or passes on. Measured times would differ between runs, and so would the sizes of stages
    and the numbers that dropout draws on each of them. The model is not changed, except that heads
    are initialised and gradients are cleared.

    Args:
        handle: The attachment to the complete model, an `nn.Sequential`.
        inputs: A micro-batch, ``(batch, ...)``.
        targets: The targets of the micro-batch.
        loss: Maps (outputs, targets) to the mean loss.
    """
    from beyondprop._torch.operations import Operations  # loads what `import torch` does not

    stages = [Stage(handle, unit) for unit in units(handle)]
    counts, passes, entry = [], [], inputs
    with untouched(handle.model):
        for stage in stages:
            with Operations() as run:
                passes.append(stage.forward(entry, targets, inputs))
            entry = passes[-1].output.detach()
            learned = (p.numel() for block in stage.blocks for _, p in block.parameters())
            counts.append(run.total + entry.numel() + sum(learned))
        stages[-1].finish(passes[-1], targets, loss)
        for place, stage in enumerate(stages):
            with Operations() as learn:
                stage.learn(passes[place], passes[-1].error)
            counts[place] += learn.total
    for parameter in (*handle.model.parameters(), *handle.parameters()):
        parameter.grad = None
    return counts


def partition(costs: Sequence[float], stages: int) -> list[int]:
    """Return the number of consecutive units in each stage that minimises the largest stage cost.

    The result is exact, by dynamic programming over the first stages and the first units.

    Args:
        costs: The cost of each unit, in the order they run; not negative.
        stages: The number of stages, from 1 to the number of costs.

    Returns:
        One whole number of 1 or more for each stage; their sum is the number of costs.
    """
    if not 1 <= stages <= len(costs):
        raise ValueError(f"{len(costs)} units cannot be split among {stages} stages")
    total = [0.0, *accumulate(costs)]
    count = len(costs)
    # best[i]: the largest stage cost if the first i units are split among this many stages, and
    # the split.
    best: list[tuple[float, list[int]]] = [(total[i], [i]) for i in range(count + 1)]
    for stage in range(1, stages):
        found = [(math.inf, [0])] * (count + 1)
        for end in range(stage + 1, count + 1):
            found[end] = min(
                (max(best[start][0], total[end] - total[start]), [*best[start][1], end - start])
                for start in range(stage, end)
            )
        best = found
    return best[count][1]
