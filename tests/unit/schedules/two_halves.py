"""What each of two processes does in `test_data_parallel`, with half of every batch."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

import beyondprop as bp
from beyondprop.schedules import DataParallel, data_parallel

RULES = ("dgl", "kp", "dkp", "dfa", "wm", "frozen")
STEPS = 3


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4)]
    return nn.Sequential(*layers)


def batch(step: int, rank: int = 0, of: int = 1) -> tuple[Tensor, Tensor]:
    """Return a process's part of a batch of 12."""
    draw = torch.Generator().manual_seed(step)
    x = torch.randn(12, 8, generator=draw)
    y = torch.randint(4, (12,), generator=draw)
    return x.chunk(of)[rank], y.chunk(of)[rank]


def gradients_of(learned: list[Any]) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in learned]


def train(rule: str, rank: int = 0, of: int = 1, seed: int = 0) -> dict[str, Any]:
    """Take some steps; return the gradients of the first and all state after the last."""
    model = net(seed)
    handle = bp.attach(model, bp.rules.make(rule))
    parallel = DataParallel(handle) if of > 1 else None
    learned = [*model.parameters(), *handle.parameters()]
    optimizer = SGD(learned, lr=0.1, momentum=0.9, weight_decay=0.01)
    first = None
    for step in range(STEPS):
        x, y = batch(step, rank, of)
        optimizer.zero_grad()
        with handle.targets(y):
            F.cross_entropy(model(x), y).backward()
        if parallel is not None:
            parallel.average()
        first = gradients_of(learned) if first is None else first
        optimizer.step()
    return {"gradients": first, "weights": model.state_dict(), "feedback": handle.state_dict()}


def partly_used() -> list[Tensor | None]:
    """Return the averaged gradients of two layers, each used by one process alone, and a third."""
    layers = nn.Sequential(
        nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False), nn.Linear(1, 1)
    )
    parallel = DataParallel(bp.attach(layers, bp.Backprop()))
    with torch.no_grad():
        used = layers[dist.get_rank()].weight
    used.grad = torch.full((1, 2), 4.0)
    parallel.average()
    return [parameter.grad for parameter in layers.parameters()]


def in_small_buckets() -> dict[str, Any]:
    before, data_parallel.BUCKET = data_parallel.BUCKET, 100
    try:
        return train("dgl", dist.get_rank(), 2)
    finally:
        data_parallel.BUCKET = before


def late() -> dict[str, Any]:
    """Begin from a state that the first process alone has loaded, and other weights elsewhere."""
    model = net(dist.get_rank())
    handle = bp.attach(model, bp.rules.make("dkp"))
    if dist.get_rank() == 0:
        feedback = {f"{name}.feedback": torch.full((4, 6), 0.5) for name in (0, 2)}
        handle.load_state_dict({"passes": torch.tensor(7), **feedback})
    DataParallel(handle)
    return {"weights": model.state_dict(), "feedback": handle.state_dict()}


def refusals() -> dict[str, str]:
    said = {}
    for rule in ("ebd", "scff"):
        try:
            DataParallel(bp.attach(net(), bp.rules.make(rule)))
        except bp.UserError as error:
            said[rule] = str(error)
    model = net()
    handle = bp.attach(model, bp.Frozen())
    handle.follow(bp.Immediate(SGD(model.parameters(), lr=0.1)))
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    x, y = batch(0)
    try:
        F.cross_entropy(wrapped(x), y).backward()
    except bp.UserError as error:
        said["immediate"] = str(error)
    return said


def averaged() -> dict[str, Any]:
    """Do it all."""
    rank = dist.get_rank()
    return {
        "trained": {rule: train(rule, rank, 2, seed=rank) for rule in RULES},
        "pairs": train("predsim", rank, 2)["gradients"],
        "partly": partly_used(),
        "buckets": in_small_buckets(),
        "late": late(),
        "refused": refusals(),
    }
