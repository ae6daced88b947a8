"""The explained quantity, the evidence for a class, and the baseline input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from beyondprop.audit.logits import logits_of
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.untouched import device_of, untouched
from beyondprop.errors import UserError
from beyondprop.tasks import Samples

Told = Callable[[Tensor, Tensor], Tensor]
"""(inputs ``(n, ...)``, classes ``(n,)``) to one number for each sample, ``(n,)``."""

AT_ONCE = 1024
"""Inputs in one batch."""


def evidence(model: nn.Module) -> Told:
    """Return the function that computes a model's evidence for a class.

    The evidence is the output of the class minus the mean of all outputs: the logarithm of the
    class's softmax probability relative to the geometric mean of all probabilities. Adding a
    constant to all outputs changes neither the probabilities nor the evidence.
    """

    def told(inputs: Tensor, classes: Tensor) -> Tensor:
        outputs = outputs_of(model, inputs)  # (n, classes)
        return outputs.gather(1, classes[:, None]).squeeze(1) - outputs.mean(1)

    return told


def probability(model: nn.Module) -> Told:
    """Return the function that computes a class's probability, the softmax of the outputs."""

    def told(inputs: Tensor, classes: Tensor) -> Tensor:
        return outputs_of(model, inputs).softmax(1).gather(1, classes[:, None]).squeeze(1)

    return told


def outputs_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return a model's logits ``(n, classes)``; see `beyondprop.audit.logits.logits_of`.

    Raises:
        UserError: The outputs have another shape or are not all finite.
    """
    logits = logits_of(model, inputs)
    if len(logits) != len(inputs):
        raise UserError(
            f"explanations need a model with outputs (samples, classes), but for {len(inputs)} "
            f"samples it returns {len(logits)}"
        )
    return logits


@torch.no_grad()
def without_graph(told: Told, inputs: Tensor, classes: Tensor) -> Tensor:
    """Return the explained quantity of many inputs, ``(n,)``, in batches and without gradients."""
    parts = zip(inputs.split(AT_ONCE), classes.split(AT_ONCE), strict=True)
    return torch.cat([told(x, c) for x, c in parts])


@torch.no_grad()
def answers(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the class that a model predicts for each input, ``(n,)``."""
    return torch.cat([outputs_of(model, part).argmax(1) for part in inputs.split(AT_ONCE)])


def training_mean(samples: Samples) -> Tensor:
    """Return the mean of all inputs, in the shape of one input.

    It is the baseline: it replaces hidden parts of an input, and integrated gradients start from
    it.
    """
    first: Tensor = samples.batch(slice(0, 1))[0]
    total = torch.zeros_like(first[0], dtype=torch.float64)
    for inputs, _ in samples.batches(4096):
        total += inputs.double().sum(0)
    return (total / len(samples)).to(first.dtype)


def check_inputs(inputs: Tensor, absent: Tensor) -> None:
    """Raise if the inputs cannot be explained.

    Raises:
        UserError: The inputs are not a tensor of real numbers, or `absent` does not have the shape
            of an input.
    """
    given: object = inputs
    if not isinstance(given, Tensor) or not inputs.is_floating_point():
        found = inputs.dtype if isinstance(given, Tensor) else type(given).__name__
        raise UserError(
            f"explanations need inputs that are one tensor of real numbers, not {found}: for class "
            "numbers, explain the part of the model after its embedding, with the embedding's "
            "output as input"
        )
    if absent.shape != inputs.shape[1:]:
        raise UserError(
            f"absent has shape {tuple(absent.shape)}, but an input {tuple(inputs.shape[1:])}"
        )


@contextmanager
def explained(model: nn.Module) -> Iterator[torch.device]:
    """Use eval mode and exact gradients inside the context, and restore the model afterwards.

    Yields the device of the model.
    """
    device = device_of(model, torch.device("cpu"))
    with exact_gradients(model), untouched(model), torch.enable_grad():
        model.eval()
        yield device
