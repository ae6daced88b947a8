"""What each of two processes does in `test_pipeline`: training on two stages, and losing one."""

import os
import signal
import time
import warnings
from collections import OrderedDict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam

import beyondprop as bp
from beyondprop.schedules import Pipeline
from tests.unit.schedules import two_halves

STEPS = 3


def mlp() -> nn.Module:
    """Return layers of different widths, with different modules between them."""
    return nn.Sequential(
        nn.Linear(8, 12),
        nn.Tanh(),
        nn.Linear(12, 12, bias=False),  # the norm takes a bias away
        nn.BatchNorm1d(12),
        nn.ReLU(inplace=True),
        nn.Linear(12, 6),
        nn.Tanh(),
        nn.Linear(6, 4),
    )


def convnet() -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            first=nn.Conv2d(2, 6, 3, padding=1),
            relu=nn.ReLU(),
            second=nn.Conv2d(6, 4, 3, padding=1),
            tanh=nn.Tanh(),
            flat=nn.Flatten(),
            hidden=nn.Linear(32, 5),
            last=nn.Tanh(),
            out=nn.Linear(5, 4),
        )
    )


MODELS = {"mlp": (mlp, (8,)), "convnet": (convnet, (2, 2, 4))}

MIXED = {
    "0": bp.Backprop(),
    "2": bp.LocalLoss(bp.CrossEntropy()),
    "5": bp.DirectFeedbackAlignment(),
    "7": bp.Backprop(),
}
RULES = {
    "predsim": bp.LocalLoss(bp.PredSim()),
    "dgl": bp.LocalLoss(bp.CrossEntropy()),
    "infopro": bp.LocalLoss(bp.InfoPro()),
    "dfa": bp.DirectFeedbackAlignment(),
    "dfa, own matrices": bp.DirectFeedbackAlignment(bp.Dense()),
    "drtp": bp.DirectRandomTargetProjection(),
    "frozen": bp.Frozen(),
    "mixed": MIXED,
}
CASES = [
    *[("mlp", rule) for rule in RULES],
    *[("convnet", rule) for rule in ("predsim", "dfa", "drtp")],
]
OPTIMIZERS = {"mlp": partial(Adam, lr=0.01), "convnet": partial(SGD, lr=0.1, momentum=0.9)}


def fresh(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name][0]()


def batch(name: str, step: int) -> tuple[Tensor, Tensor]:
    """Return a batch of 11, which four micro-batches do not divide, or of 8."""
    draw = torch.Generator().manual_seed(step)
    size = 11 if step % 2 == 0 else 8
    x = torch.randn(size, *MODELS[name][1], generator=draw)
    return x, torch.randint(4, (size,), generator=draw)


def ended(handle: bp.Attachment, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "weights": handle.model.state_dict(),
        "feedback": handle.state_dict(),
        "moments": optimizer.state_dict()["state"],
    }


def train(name: str, rule: str) -> dict[str, Any]:
    """Train on two stages, and gather once on the way."""
    model = fresh(name)
    pipeline = Pipeline(
        model, RULES[rule], optimizer=OPTIMIZERS[name], loss=F.cross_entropy, chunks=4
    )
    losses = []
    for step in range(STEPS):
        x, y = batch(name, step)
        needed = dist.get_rank() == 0 or rule == "infopro"
        losses.append(pipeline.step(x if needed else None, y))
        if step == 0:
            pipeline.gather()
    numbers = sum(p.numel() for p in model.parameters())
    pipeline.gather()
    whole = sum(p.numel() for p in model.parameters())
    return {
        "losses": losses,
        "part": numbers / whole,
        "sizes": pipeline.sizes,
        **ended(pipeline.handle, pipeline.optimizer),
    }


def scattered() -> tuple[dict[str, Any], Pipeline]:
    """Return what is said of a model whose blocks are elsewhere, and of bad settings.

    The pipeline is returned too: what the first stage has sent is lost with it, and it is done
    before the second has read it all.
    """
    rule, sgd = bp.LocalLoss(), partial(SGD, lr=0.1)
    said = {}

    def told(name: str, **settings: Any) -> None:
        model = settings.pop("model", None) or mlp()
        try:
            Pipeline(model, **{"rule": rule, "optimizer": sgd, "loss": F.cross_entropy, **settings})
        except bp.UserError as error:
            said[name] = str(error)
        said[f"{name}: attached"] = bp.attachment_of(model) is not None

    told("sizes", sizes=[1, 2])
    told("split", rule=MIXED, sizes=[1, 3])
    told("few", model=nn.Sequential(nn.Linear(8, 4)))
    pipeline = Pipeline(mlp(), rule, sgd, F.cross_entropy, sizes=[3, 1])
    x, y = batch("mlp", 0)
    pipeline.step(x, y)
    try:
        pipeline.handle.model(x)
    except bp.UserError as error:
        said["scattered"] = str(error)
    pipeline.gather()
    with torch.no_grad():
        said["output"] = pipeline.handle.model(x)
    try:  # the stages differ in their batches
        pipeline.step(x, y)
        if dist.get_rank() == 0:
            pipeline.step(x, y)
        else:
            pipeline.step(None, y[:4])
    except bp.UserError as error:
        said["batches"] = str(error)
    return said, pipeline


def losing(rule: str, lose: Any) -> dict[str, Any]:
    """Train until the other stage is lost; return what is said and after how long."""
    pipeline = Pipeline(fresh("mlp"), RULES[rule], partial(SGD, lr=0.1), F.cross_entropy)
    begun = time.monotonic()
    try:
        for step in range(1000):
            x, y = batch("mlp", step)
            pipeline.step(x, y)
            if step == 2 and dist.get_rank() == 1:
                lose()
            begun = time.monotonic() if step == 2 else begun
    except bp.UserError as error:
        return {"said": str(error), "seconds": time.monotonic() - begun}
    return {"said": "nothing"}


def joined(rank: int, folder: str, name: str, seconds: float = 60) -> None:
    store = dist.FileStore(f"{folder}/{name}", 2)
    # They meet before one leaves a group where the other still receives, and before the limit
    # counts: one may come seconds after the other.
    store.set(f"here {rank}", "")
    store.wait(["here 0", "here 1"], timedelta(seconds=60))
    if dist.is_initialized():
        dist.destroy_process_group()
    limit = timedelta(seconds=seconds)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=limit)


def work(rank: int, folder: str) -> None:
    """Do it all and save what came out."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    joined(rank, folder, "training")
    found: dict[str, Any] = {"trained": {case: train(*case) for case in CASES}}
    dist.barrier()
    found["averaged"] = two_halves.averaged()
    dist.barrier()
    found["scattered"], pipeline = scattered()  # it leaves the two at odds, so it comes last
    joined(rank, folder, "hanging", seconds=2)
    del pipeline
    found["hanging"] = losing("dgl", partial(time.sleep, 4))
    torch.save(found, Path(folder) / f"{rank}.pt")
    joined(rank, folder, "dying")
    found["dying"] = losing("dfa", partial(os.kill, os.getpid(), signal.SIGKILL))
    dist.destroy_process_group()
    torch.save(found, Path(folder) / f"{rank}.pt")
