"""Contexts for measuring a model without changing it."""

import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from beyondprop.engine.attach import attachment_of
from beyondprop.engine.attachment import Attachment


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Restore the model's buffers, modes and learned feedback and the random generators on exit.

    A schedule is disabled inside, because under `Immediate` a forward pass would take steps. The
    scale of the loss is not checked, as results do not enter the caller's gradients.

    Inside, the model works on copies of its buffers, so that even their version counters do not
    change: a measure can run between a forward pass and its backward pass. Every entry from the
    same state draws the same random numbers, so passes in two contexts have the same dropout masks.
    Parameters and their ``.grad`` are not restored: do not change them, or use `weights_kept`.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
    ]
    copies = {id(buffer): buffer.detach().clone() for _, _, buffer in buffers}
    attachments = [a for a in map(attachment_of, model.modules()) if a is not None]
    devices = [tensor.device for tensor in chain(model.parameters(), model.buffers())]
    with ExitStack() as restored:
        restored.enter_context(generators_kept(devices))
        for attachment in attachments:
            restored.enter_context(attachment.passes.state.preserved())
            restored.enter_context(_without_schedule(attachment))
        try:
            for module, name, buffer in buffers:
                setattr(module, name, copies[id(buffer)])
            yield
        finally:
            for module, name, buffer in buffers:
                setattr(module, name, buffer)
            for module, training in modes:
                module.training = training  # train() may be overridden, for example to freeze norms


@contextmanager
def weights_kept(model: nn.Module) -> Iterator[None]:
    """Restore the model's parameters and learned feedback, with their ``.grad``, on exit.

    It copies them, because an assignment to ``.data`` does not change a version counter. Therefore
    use it around the code of others, and not in every step.
    """
    attachments = [a for a in map(attachment_of, model.modules()) if a is not None]
    learned = chain(model.parameters(), *(a.parameters() for a in attachments))
    kept = [(_Lazy if is_lazy(each) else _Kept)(each) for each in learned]
    try:
        yield
    finally:
        for each in kept:
            each.restore()


class _Lazy:
    """A parameter without a shape, which a forward pass may give it."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter, self.kind, self.data = parameter, type(parameter), parameter.data
        self.learns = parameter.requires_grad

    def restore(self) -> None:
        """Remove the shape, by reversing how PyTorch sets it."""
        has_shape = not is_lazy(self.parameter)  # else the pass failed before it gave it one
        if has_shape:
            self.parameter.requires_grad_(self.learns).grad = None
            self.parameter.data, self.parameter.__class__ = self.data, self.kind


class _Kept:
    """The saved values of a parameter, which has a copy of its gradient in the meantime."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter, self.data, self.grad = parameter, parameter.data, parameter.grad
        self.learns, self.values = parameter.requires_grad, parameter.detach().clone()
        parameter.grad = None if self.grad is None else self.grad.clone()

    @torch.no_grad()
    def restore(self) -> None:
        """Restore it; if the values did not change, the version counter does not change either."""
        self.parameter.data = self.data
        self.parameter.requires_grad_(self.learns).grad = self.grad
        if not torch.equal(self.data, self.values):
            self.parameter.copy_(self.values)


@contextmanager
def _without_schedule(attachment: Attachment) -> Iterator[None]:
    passes = attachment.passes
    before, passes.schedule, passes.watch = (passes.schedule, passes.watch), None, None
    try:
        yield
    finally:
        passes.schedule, passes.watch = before


@contextmanager
def generators_kept(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Restore the generators of Python, NumPy and PyTorch on exit, on these devices too."""
    found = {device for device in devices if device.type not in ("cpu", "meta")}
    kind = next((device.type for device in found), "cuda")
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  the user's, not ours
    with torch.random.fork_rng(sorted(d.index or 0 for d in found), device_type=kind):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def device_of(model: nn.Module, default: torch.device) -> torch.device:
    """Return the device of the model's parameters; the default if it has none."""
    parameter = next(model.parameters(), None)
    return default if parameter is None else parameter.device
