"""What each of two processes does in `test_distributed`: data-parallel training by every rule."""

import warnings
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import beyondprop as bp
from beyondprop import slots
from tests.contract.teaching import RULES, attached, found, taken
from tests.contract.teaching import refusal as refusal_of
from tests.modules import CASE, Case

NAMES = ("mlp", "conv-group-norm", "residual", "transformer-layer", "reuse", "goodness")
TOGETHER = [name for name in RULES if not bp.rules.RULES[name].traits.alone]
ALONE = [name for name in RULES if bp.rules.RULES[name].traits.alone]
PAIRS = [
    (name, rule)
    for name in NAMES
    for rule in TOGETHER
    if taken(CASE[name], rule) and refusal_of(CASE[name], rule) is None
]
ACCUMULATED = [("mlp", "dfa"), ("residual", "fa"), ("transformer-layer", "drtp")]


def share(tensor: Tensor, rank: int, of: int) -> Tensor:
    """Return a process's part of a batch."""
    return tensor.chunk(of)[rank]


def loss_on_share(case: Case, model: nn.Module, seed: int, rank: int, of: int) -> Tensor:
    """Return the mean loss on this process's part of a batch."""
    plain = model.module if isinstance(model, DistributedDataParallel) else model
    (x,), _ = case.batch(seed)
    classes = share(case.classes(), rank, of)
    with bp.attachment_of(plain).targets(classes):
        (logits,) = case.logits(model(share(x, rank, of)))
    return nn.functional.cross_entropy(logits.flatten(0, -2), classes.flatten())


def wrapped(model: nn.Module, rule: str, of: int) -> nn.Module:
    """Return the model made parallel, or as it is for one process."""
    if of == 1:
        return model
    # Frozen blocks get no gradient, as unused ones do.
    return DistributedDataParallel(model, find_unused_parameters=rule == "frozen")


def train(name: str, rule: str, rank: int = 0, of: int = 1) -> dict[str, Any]:
    """Take three steps; return the gradients of the first and the weights of the last."""
    case = CASE[name]
    plain, _ = attached(case, rule)
    model = wrapped(plain, rule, of)
    optimizer = torch.optim.SGD(plain.parameters(), 0.1, 0.9)
    first = None
    for step in range(3):
        optimizer.zero_grad()
        loss_on_share(case, model, step, rank, of).backward()
        first = found(plain) if first is None else first
        optimizer.step()
    return {"gradients": first, "weights": plain.state_dict()}


def accumulate(name: str, rule: str, rank: int = 0, of: int = 1) -> dict[str, Any]:
    """Return the gradients of two batches, which are averaged over processes once."""
    case = CASE[name]
    plain, handle = attached(case, rule)
    model = wrapped(plain, rule, of)
    for seed in (1, 2):
        quiet = seed == 1 and of > 1
        with model.no_sync() if quiet else nullcontext():
            handle.loss(loss_on_share(case, model, seed, rank, of)).backward()
    return {"gradients": found(plain)}


def refusal(rule: str) -> str:
    """Return what a rule says that needs all samples in one process."""
    case = CASE["mlp"]
    plain, _ = attached(case, rule)
    try:
        loss_on_share(case, wrapped(plain, rule, 2), 1, 0, 2)
    except bp.UserError as error:
        return str(error)
    return "nothing was refused"


def choose(rank: int = 0, of: int = 1, seed: int = 1, steps: int = 3) -> dict[str, Tensor] | str:
    """Train a slot machine; return its weights, or what is said where the seeds differ."""
    case = CASE["mlp"]
    plain = case.fresh()
    slots.convert(plain, 4, seed=seed)
    bp.attach(plain, bp.DirectFeedbackAlignment())
    model = wrapped(plain, "dfa", of)
    optimizer = slots.drive(torch.optim.SGD(plain.parameters(), 0.5, 0.9), plain)
    try:
        for step in range(steps):
            optimizer.zero_grad()
            loss_on_share(case, model, step, rank, of).backward()
            optimizer.step()
    except bp.UserError as error:
        return str(error)
    return plain.state_dict()


def work(rank: int, folder: str) -> None:
    """Do it all and save what came out."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    limit = timedelta(seconds=60)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=limit)
    try:
        results = {
            "trained": {pair: train(*pair, rank, 2) for pair in PAIRS},
            "accumulated": {pair: accumulate(*pair, rank, 2) for pair in ACCUMULATED},
            "chosen": choose(rank, 2),
            "refused": {rule: refusal(rule) for rule in ALONE},
        }
        # One step, as behind it one process would wait for the other, which refused it.
        results["strangers"] = choose(rank, 2, seed=rank, steps=1)
        torch.save(results, Path(folder) / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
