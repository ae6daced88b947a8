"""What each of two processes does in `test_distributed`: data-parallel training by every rule."""

import warnings
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

import beyondprop as bp
from beyondprop import slots
from beyondprop._torch.spread import is_spread
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


class Deep(nn.Module):
    """Blocks of two layers, no chain, so that hooks teach them."""

    def __init__(self) -> None:
        super().__init__()
        torch.default_generator.manual_seed(0)
        self.layers = nn.ModuleList(
            [nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 8)) for _ in range(2)]
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 8) -> (batch, 4)."""
        for layer in self.layers:
            x = x + layer(x)
        found: Tensor = self.head(x)
        return found


def shard(model: Deep) -> None:
    """Spread parameters over the processes, which gather them to run."""
    for part in (*model.layers, model):
        fully_shard(part)


def divide(model: Deep) -> None:
    """Have each process run a part of each block's features."""
    plan = {"layers.*.0": ColwiseParallel(), "layers.*.2": RowwiseParallel()}
    parallelize_module(model, init_device_mesh("cpu", (2,)), plan)


def wrap(model: Deep) -> None:
    """Have gradients averaged."""
    vars(model)["wrapper"] = DistributedDataParallel(model)


SPREAD = {
    "shard": shard,
    "divide": divide,
    "misuse": divide,  # with blocks that return a part of their features in each process
    "wrap": wrap,
    "leave": lambda _: None,
}


def spread(how: str, rule: str, late: bool) -> dict[str, Tensor] | str:
    """Take two steps with a model that is spread; return its weights, or what is said.

    Args:
        how: Of `SPREAD`.
        rule: Its name.
        late: Whether it is spread after the rule is attached.
    """
    model, layers = Deep(), "layers.*.[02]" if how == "misuse" else "layers.*"
    if not late:
        SPREAD[how](model)
    x, y = torch.linspace(-1, 1, 48).view(6, 8), torch.arange(6) % 4
    try:
        given = bp.rules.make(rule)
        whole = given.traits.whole_model
        handle = bp.attach(model, given, None if whole else [layers, "head"])
        if late:
            SPREAD[how](model)
        run = vars(model).get("wrapper", model)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            with handle.targets(y):
                nn.functional.cross_entropy(run(x), y).backward()
            optimizer.step()
    except bp.UserError as error:
        return str(error)
    whole = {n: p.full_tensor() if is_spread(p) else p for n, p in model.named_parameters()}
    return {name: tensor.detach().clone() for name, tensor in whole.items()}


WHOLE = [
    *(("shard", rule, False) for rule in ("dfa", "drtp", "fa", "wm", "frozen")),
    *(("shard", rule, True) for rule in ("fa", "brsf", "wm", "frozen")),
    *(("divide", rule, False) for rule in ("dfa", "fa", "usf", "brsf", "frsf", "frozen")),
    *(("divide", rule, True) for rule in ("drtp", "fa", "frsf", "frozen")),
]
"""How a model is spread, a rule, and whether that is done last: all of them as in one process."""

SAID = {
    ("shard", "dfa", True): "call fully_shard or parallelize_module first, then attach",
    ("misuse", "drtp", True): "call fully_shard or parallelize_module first, then attach",
    ("misuse", "dfa", False): "returns a part of its features in each process",
    ("divide", "wm", False): "needs complete weights",
    ("shard", "fg", False): "runs the model itself and needs complete parameters",
    ("wrap", "frozen", True): "find_unused_parameters=True, or call requires_grad_",
}
"""What is said of what cannot be right."""


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
            "spread": {each: spread(*each) for each in (*WHOLE, *SAID)},
        }
        # One step, as behind it one process would wait for the other, which refused it.
        results["strangers"] = choose(rank, 2, seed=rank, steps=1)
        torch.save(results, Path(folder) / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
