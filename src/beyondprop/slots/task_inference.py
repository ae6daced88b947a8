"""Infers the task of unlabelled inputs from the entropy of the outputs."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from beyondprop._torch.functional import call_with
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.untouched import untouched
from beyondprop.errors import UserError
from beyondprop.slots import contents
from beyondprop.slots.contents import Contents
from beyondprop.slots.machine import Machine


def one_shot(machine: Machine, states: Mapping[str, Contents], inputs: Tensor) -> str:
    """Return the task whose share in a mixture of all tasks reduces the outputs' entropy fastest.

    The network runs once, with weights ``Σ_i α_i W_i`` at ``α_i = 1/T``. The result is the task
    with the largest ``-∂H/∂α_i``, where H is the mean entropy of the outputs' softmax (Wortsman et
    al. 2020, "Supermasks in Superposition", section 3.3, 'One-Shot'). The gradient is exact: as H
    depends only on the mixed weights W, ``∂H/∂α_i = <∂H/∂W, W_i>``. Free parameters are mixed like
    the weights; so are batch statistics, but these are treated as constants.

    Args:
        machine: The model's machine.
        states: The model's contents for each task.
        inputs: The model's inputs, for which it returns logits, classes last.

    Raises:
        UserError: The model does not return logits.
    """
    learned = {name for name, p in _parameters(machine).items() if p.is_floating_point()}
    with untouched(machine.model), torch.inference_mode(False), exact_gradients(machine.model):
        mixed = _mixture(machine, states)
        leaves = {n: t.requires_grad_() for n, t in mixed.items() if n in learned}
        with torch.enable_grad():
            entropy = _entropy(machine, mixed, inputs.detach().clone())
            slopes = torch.autograd.grad(entropy, list(leaves.values()), allow_unused=True)
    gradients = {n: g.double() for n, g in zip(leaves, slopes, strict=True) if g is not None}

    def gain(task: str) -> float:
        tensors = _tensors(machine, states[task])
        return -sum(float((gradients[n] * t).sum()) for n, t in tensors if n in gradients)

    return max(states, key=gain)


@torch.no_grad()
def lowest_entropy(machine: Machine, states: Mapping[str, Contents], inputs: Tensor) -> str:
    """Return the task whose network has the lowest mean entropy; runs each task's network once.

    Arguments and errors are those of `one_shot`.
    """
    with untouched(machine.model), exact_gradients(machine.model):
        return min(
            states,
            key=lambda task: float(
                _entropy(machine, dict(_tensors(machine, states[task])), inputs)
            ),
        )


def _parameters(machine: Machine) -> dict[str, Tensor]:
    return dict(machine.model.named_parameters(remove_duplicate=False))


def _tensors(machine: Machine, state: Contents) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor of a task's network with its name; weights are drawn one by one."""
    for reel in machine.reels:
        packed, like = state.chosen[reel.name], reel.parameter
        yield reel.name, contents.weights_from(reel.kind, reel.source, packed, like)
    device = machine.reels[0].parameter.device
    for name, tensor in state.free.items():
        yield name, tensor.to(device, copy=True)  # a forward pass may change a buffer


@torch.no_grad()
def _mixture(machine: Machine, states: Mapping[str, Contents]) -> dict[str, Tensor]:
    """Return the mean of all tasks' tensors; integer tensors are those of the first task."""
    mixed: dict[str, Tensor] = {}
    for state in states.values():
        for name, tensor in _tensors(machine, state):
            if not tensor.is_floating_point():
                mixed.setdefault(name, tensor)
            elif name in mixed:
                mixed[name] += tensor / len(states)
            else:
                mixed[name] = tensor / len(states)
    return mixed


def _entropy(machine: Machine, tensors: dict[str, Tensor], inputs: Tensor) -> Tensor:
    model = machine.model.eval()
    logits = call_with(model, tensors, [inputs])  # (batch, ..., classes)
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.dim() < 2:
        raise UserError(
            "a task is inferred from logits, (batch, classes), but this model returns something "
            "else: choose the task yourself with bank.use(task)"
        )
    logs = logits.log_softmax(-1)  # (batch, ..., classes)
    return -(logs.exp() * logs).sum(-1).mean()  # ()
