"""Looking at a model without leaving a trace."""

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
    """Leave the model's buffers, modes and learned feedback and the generators as they were found.

    A schedule is set aside: under `Immediate` a forward pass would take steps. Nobody asks how the
    loss is scaled either, as what is found goes into no gradient of the caller's.

    Inside, the model works on copies of its buffers, so that not even their version counters move:
    a measure may stand between a forward pass and its backward pass. Every entry from one state
    draws the same random numbers, so two passes in two contexts see the same dropout masks.
    Parameters and their ``.grad`` are the caller's to leave alone, or see `weights_kept`.
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
                module.training = training  # train() may be overridden, to keep norms frozen say


@contextmanager
def weights_kept(model: nn.Module) -> Iterator[None]:
    """Put the model's parameters and learned feedback back, with their ``.grad``, as they were.

    It takes copies, as an assignment to ``.data`` moves no version counter; so it is for what
    somebody else wrote, and not for each step.
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
        """Take the shape away again; that is how PyTorch gives it."""
        has_shape = not is_lazy(self.parameter)  # else the pass failed before it gave it one
        if has_shape:
            self.parameter.requires_grad_(self.learns).grad = None
            self.parameter.data, self.parameter.__class__ = self.data, self.kind


class _Kept:
    """A parameter as it was; meanwhile it has a copy of its gradient."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter, self.data, self.grad = parameter, parameter.data, parameter.grad
        self.learns, self.values = parameter.requires_grad, parameter.detach().clone()
        parameter.grad = None if self.grad is None else self.grad.clone()

    @torch.no_grad()
    def restore(self) -> None:
        """Put it back; where nothing was changed, the version counter stays too."""
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
    """Put the generators of Python, NumPy and PyTorch back as they were, on these devices too."""
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
    """Return where the model computes; a model without parameters computes where its input is."""
    parameter = next(model.parameters(), None)
    return default if parameter is None else parameter.device
