"""A run's state in one file: what a killed run needs to go on to the bit-identical result."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from .storage import StorageError, write_bytes

CHECKPOINT = "checkpoint.pt"
SCHEMA = 1


@dataclass
class State:
    """Everything in a run that changes as it goes.

    Attributes:
        model: Parameters and buffers.
        optimizer: Its moments.
        losses: The training loss of every step, one tensor an epoch.
        curve: One point an epoch, from epoch 0, before training.
    """

    model: nn.Module
    optimizer: Optimizer
    losses: list[torch.Tensor] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.losses)

    @property
    def step(self) -> int:
        """Steps taken."""
        return sum(len(epoch) for epoch in self.losses)


def save(folder: Path, state: State) -> None:
    """Writes the state and those of PyTorch's generators, atomically."""
    content = {
        "schema": SCHEMA,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "generators": _generators(),
        "losses": state.losses,
        "curve": state.curve,
    }
    buffer = io.BytesIO()  # torch.save to a full disk fails with an error that does not say so
    torch.save(content, buffer)
    write_bytes(folder / CHECKPOINT, buffer.getvalue())


def restore(folder: Path, state: State) -> bool:
    """Puts what `folder` holds into `state` and PyTorch's generators.

    Returns:
        Whether there was a checkpoint.

    Raises:
        StorageError: There is one, but it cannot be read.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return False
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state.model.load_state_dict(content["model"])
        state.optimizer.load_state_dict(content["optimizer"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError):
        raise StorageError(
            f"{path} cannot be read as this run's state; delete it to begin the run again"
        ) from None
    state.losses = content["losses"]
    state.curve = content["curve"]
    _set_generators(content["generators"])
    return True


def _generators() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
