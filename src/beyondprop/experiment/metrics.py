"""`metrics.jsonl`: one line for each step (the loss) and each epoch (the point of the curve)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beyondprop.experiment.checkpoint import TrainingState
from beyondprop.experiment.measuring import brief
from beyondprop.files import (
    append_text,
    finite,
    write_bytes,
)

METRICS = "metrics.jsonl"


def rewrite(folder: Path, state: TrainingState) -> None:
    """Write the file from the state, without the lines that a killed run logged after it."""
    text = "".join(text_of_epoch(state, epoch) for epoch in range(len(state.curve)))
    write_bytes(folder / METRICS, text.encode())


def append(folder: Path, state: TrainingState) -> None:
    """Add the lines of the last epoch."""
    append_text(folder / METRICS, text_of_epoch(state, len(state.curve) - 1))


def text_of_epoch(state: TrainingState, epoch: int) -> str:
    """Return the lines of one epoch; epoch 0 is the model before training."""
    lines = [*_steps(state, epoch), brief(state.curve[epoch])]
    return "".join(json.dumps(finite(line), allow_nan=False) + "\n" for line in lines)


def _steps(state: TrainingState, epoch: int) -> Iterator[dict[str, Any]]:
    if epoch == 0:
        return
    before = sum(len(losses) for losses in state.losses[: epoch - 1])
    for step, loss in enumerate(state.losses[epoch - 1].tolist(), before + 1):
        yield {"epoch": epoch, "step": step, "loss": loss}
