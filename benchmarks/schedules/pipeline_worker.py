"""The worker of `pipeline.py`, which runs in each of two processes: steps in one, and in both."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.nn import Parameter
from torch.optim import SGD

import beyondprop as bp
from benchmarks.common.networks import RATE, Network, sgd
from beyondprop.measure.step_time import order
from beyondprop.schedules import Pipeline, partition

Step = Callable[[], object]
RULES = ("dgl", "dfa")
BACKPROP = "backprop, 1F1B"


def work(
    rank: int, net: Network, chunks: Sequence[int], rounds: int, steps: int, folder: str
) -> None:
    """Time every training method in every round; the first process saves the seconds per step."""
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    try:
        trainings = build_steps(rank, net, chunks)
        seconds = {name: [] for name in trainings}
        names = list(trainings)
        for number in range(rounds + 1):  # the first round is not counted
            for i in order(len(names), number):
                taken = time_steps(trainings[names[i]], steps)
                seconds[names[i]] += [taken] if number else []
        if rank == 0:
            Path(folder, "seconds.json").write_text(json.dumps(seconds))
        dist.barrier()
    finally:
        dist.destroy_process_group()


def time_steps(step: Step | None, steps: int) -> float:
    """Return the seconds of a step, from `steps` consecutive ones between two barriers."""
    dist.barrier()
    begun = time.perf_counter()
    for _ in range(steps):
        if step is not None:
            step()
    dist.barrier()
    return (time.perf_counter() - begun) / steps


def build_steps(rank: int, net: Network, chunks: Sequence[int]) -> dict[str, Step | None]:
    """Return a step of each training method, in one process and in two; None if this is idle."""
    trainings: dict[str, Step | None] = {}
    x, y = net.batch()
    for name in (*RULES, BACKPROP):
        rule = bp.rules.make(name) if name in RULES else None
        trainings[f"{name}: one"] = None if rank else joint(net, rule, x, y)
        for count in chunks:
            trainings[f"{name}: {count}"] = (
                one_forward_one_backward(rank, net, count, x, y)
                if rule is None
                else partial(pipelined(net, rule, count).step, x, y)
            )
    return trainings


def fresh(net: Network) -> nn.Module:
    torch.manual_seed(0)
    return net.build()


def joint(net: Network, rule: bp.rules.Rule | None, x: Tensor, y: Tensor) -> Step:
    """Return an ordinary step; without a rule, of plain PyTorch."""
    model = fresh(net)
    handle = None if rule is None else bp.attach(model, rule)
    if handle is not None:
        handle.passes.state.averaged = True  # nothing to average: the other process waits
    optimizer = sgd([*model.parameters(), *(handle.parameters() if handle else [])], RATE)

    def step() -> None:
        optimizer.zero_grad()
        if handle is None:
            loss = F.cross_entropy(model(x), y)
        else:
            with handle.targets(y):
                loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    return step


def pipelined(net: Network, rule: bp.rules.Rule, chunks: int) -> Pipeline:
    return Pipeline(fresh(net), rule, make_sgd, F.cross_entropy, chunks)


def make_sgd(parameters: Iterable[Parameter]) -> SGD:
    return sgd(parameters, RATE)


def one_forward_one_backward(rank: int, net: Network, chunks: int, x: Tensor, y: Tensor) -> Step:
    """Return a step of backprop with PyTorch's own pipeline, split where the weights are halved."""
    model = fresh(net)
    layers = [[]]
    for child in model:
        layers += [[]] if layers[-1] and any(True for _ in child.parameters()) else []
        layers[-1].append(child)
    costs = [sum(p.numel() for child in layer for p in child.parameters()) for layer in layers]
    ends = list(accumulate(partition(costs, 2)))
    own = layers[: ends[0]] if rank == 0 else layers[ends[0] :]
    part = nn.Sequential(*[child for layer in own for child in layer])
    stage = PipelineStage(part, rank, 2, torch.device("cpu"))
    schedule = Schedule1F1B(stage, chunks, loss_fn=F.cross_entropy)
    optimizer = sgd(part.parameters(), RATE)

    def step() -> None:
        optimizer.zero_grad()
        if rank == 0:
            schedule.step(x)
        else:
            schedule.step(target=y, losses=[])
        optimizer.step()

    return step
