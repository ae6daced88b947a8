"""Sharing blocks out among stages so that none is much slower than the others."""

import math
import time
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from beyondprop.core import Block
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import untouched
from beyondprop.schedules.stage import Loss, Stage

REPEATS = 5


def units(handle: Attachment) -> list[list[Block]]:
    """Return the blocks of a chain in runs that end in a cut: a pipeline may split between them."""
    found: list[list[Block]] = [[]]
    for block in handle.blocks:
        found[-1].append(block)
        if handle.taught(block) is not None:
            found.append([])
    return [unit for unit in found if unit]


def measured_costs(handle: Attachment, inputs: Tensor, targets: Tensor, loss: Loss) -> list[float]:
    """Return how long each of `units` takes to run and to learn, in seconds.

    The best of a few times, on this machine, after one that is not counted. The model is left as
    it was, but for heads, which have their shapes then, and gradients, which are cleared.

    Args:
        handle: What is attached to the whole model, an `nn.Sequential`.
        inputs: A micro-batch, ``(batch, ...)``.
        targets: Its targets.
        loss: (outputs, targets) to the mean loss.
    """
    stages = [Stage(handle, unit) for unit in units(handle)]
    with untouched(handle.model):
        entries = [inputs]
        for stage in stages:
            passed = stage.forward(entries[-1], targets, inputs)
            entries.append(passed.output.detach())
        stages[-1].finish(passed, targets, loss)
        taken: list[list[float]] = [[] for _ in stages]
        for _ in range(1 + REPEATS):  # in turns, so that what slows the machine slows all
            for stage, entry, seconds in zip(stages, entries, taken, strict=False):
                _clear(handle)
                begun = _now()
                again = stage.forward(entry, targets, inputs)
                again.error = passed.error if stage is stages[-1] else None
                stage.learn(again, passed.error)
                seconds.append(_now() - begun)
    _clear(handle)
    return [min(seconds[1:]) for seconds in taken]


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


def _clear(handle: Attachment) -> None:
    for parameter in (*handle.model.parameters(), *handle.parameters()):
        parameter.grad = None


def _now() -> float:
    """Return the time when an accelerator, if there is one, has done what it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()
