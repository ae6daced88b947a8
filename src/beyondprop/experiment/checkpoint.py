"""A run's state in one file, from which a killed run continues to the bit-identical result."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.experiment.forms import POINT, mismatch
from beyondprop.files import StorageError, cannot, read_sealed, write_sealed

CHECKPOINT = "checkpoint.pt"
SCHEMA = 4


@dataclass
class TrainingState:
    """Everything that changes during a run.

    Attributes:
        model: The model, with its parameters and buffers.
        handle: The model's attachment, with feedback that learns.
        optimizer: The optimizer, with its moments.
        losses: The training loss of every step, one tensor for each epoch.
        curve: One point for each epoch, from epoch 0 (before training).
        sessions: Sessions that worked on the run, this one last; see `provenance.session`.
        stages: For a pipeline, the number of blocks and the generators of each process.
    """

    model: nn.Module
    handle: Attachment
    optimizer: Optimizer
    losses: list[torch.Tensor] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    stages: dict[str, Any] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.losses)

    @property
    def step(self) -> int:
        """Steps taken."""
        return sum(len(epoch) for epoch in self.losses)


def save(folder: Path, state: TrainingState) -> None:
    """Write the state and the generators' states, atomically and with a digest."""
    content = {
        "schema": SCHEMA,
        "model": state.model.state_dict(),
        "feedback": state.handle.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "generators": generators(),
        "losses": state.losses,
        "curve": state.curve,
        "sessions": state.sessions,
        **({"stages": state.stages} if state.stages else {}),
    }
    buffer = io.BytesIO()  # torch.save to a full disk fails with an error that does not say so
    torch.save(content, buffer)
    write_sealed(folder / CHECKPOINT, buffer.getvalue())


def restore(folder: Path, state: TrainingState) -> bool:
    """Load a folder's checkpoint into ``state`` and the generators.

    The checkpoint's sessions come before this one. The file is not parsed before its digest is
    verified.

    Returns:
        Whether there was a checkpoint.

    Raises:
        StorageError: The checkpoint cannot be read, is damaged, or belongs to another run.
    """
    path = folder / CHECKPOINT
    try:
        content = read_sealed(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot("read", path, error) from None
    if content is None:
        raise StorageError(
            f"{path} is damaged or from another version of beyondprop (its content does not match "
            "its digest): delete it to restart the run"
        )
    try:
        _put(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), state)
    except UserError as error:
        raise StorageError(
            f"{path} does not fit this run ({error}): resume with the rule, task and settings that "
            "wrote it, or delete it to restart the run"
        ) from None
    except Exception:  # any error of PyTorch, optimizers or models with another run's numbers
        raise StorageError(
            f"{path} cannot be read as this run's state: delete it to restart the run"
        ) from None
    return True


def _put(content: Any, state: TrainingState) -> None:
    """Load a checkpoint's content into ``state`` and the generators."""
    if content["schema"] != SCHEMA:
        raise ValueError("made by another version")
    losses, curve, sessions = (content[key] for key in ("losses", "curve", "sessions"))
    if not all(isinstance(epoch, torch.Tensor) and epoch.dim() == 1 for epoch in losses):
        raise ValueError("it holds no losses")
    given = {"curve": curve, "sessions": sessions, "stages": content.get("stages", {})}
    fault = mismatch(given, {"curve": [POINT], "sessions": [{}], "stages": {}})
    if fault or len(curve) != len(losses) + 1:
        raise ValueError(fault or "an epoch lacks its point")
    state.model.load_state_dict(content["model"])
    state.handle.load_state_dict(content["feedback"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.losses, state.curve = losses, curve
    state.sessions = sessions + state.sessions
    state.stages = given["stages"]
    set_generators(content["generators"])


def seed_generators(seed: int) -> None:
    """Seed the global generators of PyTorch, Python and NumPy; models and losses may use any."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed([seed % 2**32, seed // 2**32])  # noqa: NPY002  it takes words of 32 bits


def generators() -> dict[str, Any]:
    """Return the states of this process's generators, in the form of a checkpoint."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    legacy: Any = np.random.get_state()  # noqa: NPY002  the user's code draws from it
    _, words, *rest = legacy
    return {
        "cpu": torch.get_rng_state(),
        "cuda": cuda,
        "python": random.getstate(),
        "numpy": [torch.from_numpy(words.astype(np.int64)), *rest],
    }


def set_generators(states: dict[str, Any]) -> None:
    """Restore the generators' states from a call of `generators`."""
    random.setstate(states["python"])
    words, *rest = states["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["cpu"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
