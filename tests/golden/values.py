"""What is held golden: the gradients of every rule on every module, in float64.

A pair of a case and a rule is taught with the loss and the targets of the contract tests:

- joint: a forward and a backward pass, a step of SGD, and the same again with another batch, so
  that learned feedback and what is counted from pass to pass show. The gradients of both are kept.
- immediate: a forward pass, a backward pass and a step under `Immediate`, for the rules that can.
  The weights after it are kept.

Only the public interface is used, so that a redesign leaves this file alone; the parameters of
feedback and heads are named by their place in ``handle.parameters()``.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

import beyondprop as bp
from tests.contract.teaching import Gradients, attach, every, gradients, learned, taught
from tests.modules import Batch, Case

Numbers = tuple[float, float, str]
"""What is committed of one pass: a projection, the norm, and which tensors are None."""

PAIRS: list[tuple[Case, str]] = every.args[1]
"""Every module with every rule that can teach it."""

RATE = 0.1


def values(case: Case, rule: str) -> dict[str, Gradients]:
    """Return all tensors of a pair by name, for each schedule and pass."""
    first, second = joint(case, rule)
    weights = immediate(case, rule)
    return {"joint/1": first, "joint/2": second, **({"immediate/1": weights} if weights else {})}


def joint(case: Case, rule: str) -> tuple[Gradients, Gradients]:
    """Return the gradients of two passes with a step of SGD between them."""
    model, handle = attached(case, rule)
    first = gradients(case, model, batch(case, 1))
    sgd(model, handle).step()
    return first, gradients(case, model, batch(case, 2))


def immediate(case: Case, rule: str) -> Gradients | None:
    """Return the weights after a step under `Immediate`, or None where the rule cannot."""
    model, handle = attached(case, rule)
    optimizer = sgd(model, handle)
    try:
        handle.follow(bp.Immediate(optimizer))
    except bp.UserError:
        return None
    taught(case, model, batch(case, 1)).backward()
    optimizer.step()
    # A head of a block that never ran is still lazy.
    return {n: None if is_lazy(p) else p.detach().clone() for n, p in learned(model).items()}


def attached(case: Case, rule: str) -> tuple[nn.Module, bp.Attachment]:
    """Build the module in float64 and attach a rule to it."""
    with drawn_in_double():
        model = case.fresh().double()
    return model, attach(case, model, rule)


def sgd(model: nn.Module, handle: bp.Attachment) -> torch.optim.Optimizer:
    """Return the optimizer over all that learns."""
    return torch.optim.SGD([*model.parameters(), *handle.parameters()], RATE)


def batch(case: Case, seed: int) -> Batch:
    """Draw a batch in float64, and seed what the model draws in its pass."""
    with drawn_in_double():
        drawn = case.batch(seed)
    torch.default_generator.manual_seed(seed)
    return drawn


@contextmanager
def drawn_in_double() -> Iterator[None]:
    """Draw random numbers in float64: in float32 their last digits depend on the processor."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def numbers(tensors: Gradients) -> Numbers:
    """Return a projection of all tensors on fixed random directions, their norm, and the Nones."""
    flat = {n: t.flatten().numpy() for n, t in tensors.items() if t is not None}
    projection = sum(float(t @ direction(name, t.size)) for name, t in flat.items())
    norm = sum(float(t @ t) for t in flat.values()) ** 0.5
    return projection, norm, spans([i for i, t in enumerate(tensors.values()) if t is None])


@cache
def direction(name: str, size: int) -> np.ndarray:
    """Return numbers from -1 to 1 that belong to a name.

    They are made of Philox's raw bits, which NumPy keeps as they are from version to version.
    """
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
    raw = np.random.Philox(key=key).random_raw(size)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1


def spans(places: list[int]) -> str:
    """Return places in order as text, such as ``0-3 7``."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][1] == place - 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
