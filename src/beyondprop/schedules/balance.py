"""Sharing blocks out among stages so that none is much slower than the others."""

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
    """Return what each of `units` takes to run and to learn: the same on every machine and day.

    The floating-point operations of its products, and one for each number that it learns or hands
    on. A time would be another in each run, and with the stages' sizes the numbers that dropout
    draws on each of them. The model is unchanged, except that heads then have their shapes and
    gradients are cleared.

    Args:
        handle: What is attached to the whole model, an `nn.Sequential`.
        inputs: A micro-batch, ``(batch, ...)``.
        targets: Its targets.
        loss: (outputs, targets) to the mean loss.
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
    """Return how many neighbours each stage gets so that the slowest is as fast as can be.

    Exact, by dynamic programming over the first stages and the first units.

    Args:
        costs: Of each unit, in the order they run; not negative.
        stages: How many stages there are, from 1 to the number of costs.

    Returns:
        As many whole numbers from 1 as there are stages, whose sum is the number of costs.
    """
    if not 1 <= stages <= len(costs):
        raise ValueError(f"{len(costs)} units cannot be split among {stages} stages")
    total = [0.0, *accumulate(costs)]
    count = len(costs)
    # best[i]: the slowest stage if the first i units are split among so many stages, and the split.
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
