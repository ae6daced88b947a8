"""Eight parallel threads with every rule: each gets its usual gradients, to the bit."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from benchmarks.faults.tally import Tally
from beyondprop._torch.threads import threads_set
from beyondprop.models.goodness import FirstPixels, GoodnessNetwork

THREADS, PASSES = 8, 3
CLASSES = 4

Gradients = list[Tensor | None]
T = TypeVar("T")


def chain() -> nn.Module:
    """Return a chain of layers."""
    return nn.Sequential(
        *(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    )


def goodness() -> nn.Module:
    """Return a network that is trained by goodness."""
    return GoodnessNetwork(
        [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(3)], FirstPixels(CLASSES)
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "ff": (goodness, ("blocks.*",)),
}
"""Networks, with their blocks, for rules that don't accept a chain."""


def batch(number: int) -> tuple[Tensor, Tensor]:
    """Return a thread's inputs (6, 8) and targets (6,)."""
    generator = torch.Generator().manual_seed(number)
    return torch.randn(6, 8, generator=generator), (torch.arange(6) + number) % CLASSES


def attached(rule: str) -> bp.Attachment:
    """Return a network with fixed initial weights and a rule attached.

    It is in eval mode, because passes in training mode count, and a rule may draw new numbers in
    each.
    """
    network, blocks = NETWORKS.get(rule, (chain, None))
    torch.manual_seed(0)
    return bp.attach(network().eval(), bp.rules.make(rule), blocks)


def gradients(handle: bp.Attachment, parameters: Sequence[Tensor], number: int) -> list[Gradients]:
    """Return the gradients of each parameter in passes with a thread's batch."""
    inputs, targets = batch(number)
    made = []
    for _ in range(PASSES):
        with handle.targets(targets):
            loss = F.cross_entropy(handle.model(inputs), targets)
        made.append(list(torch.autograd.grad(loss, parameters, allow_unused=True)))
    return made


def same(found: Sequence[Any], expected: Sequence[Gradients]) -> bool:
    """Return whether gradients are equal to the bit."""
    return all(
        (got is None) == (right is None) and (got is None or torch.equal(got, right))
        for one, other in zip(found, expected, strict=True)
        for got, right in zip(one, other, strict=True)
    )


def at_once(works: Sequence[Callable[[], T]]) -> list[T | BaseException]:
    """Return what functions return or raise, in one parallel thread each."""
    meet = threading.Barrier(len(works))
    found: list[Any] = [None] * len(works)

    def run(place: int) -> None:
        meet.wait(60)
        try:
            found[place] = works[place]()
        except BaseException as error:
            found[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@contextmanager
def eager_switches() -> Iterator[None]:
    """Switch between threads so often that shared state shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def taught(handles: Sequence[bp.Attachment]) -> list[Any]:
    """Return the gradients of eight threads, or the first fault among them."""
    # Read before: during a pass of a rule that runs the model, other tensors replace them.
    parameters = [list(handle.model.parameters()) for handle in handles]
    works = zip(handles, parameters, range(len(handles)), strict=True)
    found = at_once([partial(gradients, *work) for work in works])
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found


def attack(tally: Tally, rules: Sequence[str] = tuple(bp.rules.RULES)) -> None:
    """Train with every rule in eight threads: each with its own model, then all with one model."""
    with threads_set(1), eager_switches():
        for rule in rules:
            handle = attached(rule)
            held = list(handle.model.parameters())
            alone = [gradients(handle, held, number) for number in range(THREADS)]
            models = [copy.deepcopy(handle.model) for _ in range(THREADS)]
            own = [bp.attachment_of(model) for model in models]
            for name, handles in (("each its own", own), ("all one", [handle] * THREADS)):
                tally.attempt(
                    f"{rule}, {name}",
                    partial(taught, handles),  # type: ignore[arg-type]  # all have one
                    lambda found, alone=alone: all(map(same, found, alone)),  # type: ignore[misc]
                )
