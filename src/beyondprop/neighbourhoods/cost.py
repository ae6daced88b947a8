"""The cost of a piece in use and in training."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch import nn

from beyondprop._torch.operations import Operations
from beyondprop._torch.pytrees import leaves
from beyondprop.neighbourhoods.calls import Call

ROUNDS = 7
"""How often a piece is timed; the result is the median."""


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass of one sample.

    Attributes:
        parameters: The number of parameters.
        operations: Floating-point operations, as PyTorch counts them.
        bytes: The size of parameters and buffers in bytes.
    """

    parameters: int
    operations: int
    bytes: int


def cost_of(piece: nn.Module, call: Call) -> Cost:
    """Return the cost of a piece in eval mode.

    Args:
        piece: Accepts the call's inputs.
        call: A call of one sample.
    """
    state = [*piece.parameters(), *piece.buffers()]
    return Cost(
        sum(each.numel() for each in piece.parameters()),
        forward_operations(piece, call),
        sum(each.numel() * each.element_size() for each in state),
    )


@torch.no_grad()
def forward_operations(piece: nn.Module, call: Call) -> int:
    """Return the floating-point operations of one forward pass on a call's inputs."""
    counted = Operations()
    with counted:
        call.of(piece)
    return counted.total


def step_operations(piece: nn.Module, call: Call) -> int:
    """Return the floating-point operations of a forward and a backward pass on a call's inputs.

    The gradients of the piece's weights are restored afterwards.
    """
    before = {each: each.grad for each in piece.parameters()}
    counted = Operations()
    with counted, torch.enable_grad():
        outputs = [each for each in leaves(call.of(piece)) if each.requires_grad]
        if outputs:
            torch.autograd.backward(outputs, [torch.zeros_like(each) for each in outputs])
    for each, gradient in before.items():
        each.grad = gradient
    return counted.total


@torch.no_grad()
def seconds_of(piece: nn.Module, call: Call) -> float:
    """Return the median seconds of a forward pass on a call's inputs, on an idle machine."""
    times = []
    call.of(piece)
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call.of(piece)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
