"""The cost of the library's checks: the same work with and without them, alternating.

A digest is compared before a checkpoint or a record is used; gzip is unpacked in parts, so that
unpacking can be stopped; a published pickle is read one operation at a time; targets are local to
the thread.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

import beyondprop as bp
from beyondprop.files import read_json, read_sealed, write_json, write_sealed
from beyondprop.tasks import cifar_files, files

Action = Callable[[], object]

REPEATS = 5
"""Repetitions of an action in a round."""


def ratios(rounds: int) -> list[dict[str, Any]]:
    """Return, for each check, the ratio of times with and without it, from interleaved rounds."""
    with TemporaryDirectory() as folder:
        return [
            {"part": "bound", "what": what} | timed(with_it, without, rounds)
            for what, with_it, without in pairs(Path(folder))
        ]


def timed(with_it: Action, without: Action, rounds: int) -> dict[str, Any]:
    """Return the medians of both, in seconds, and the median and the quartiles of their ratio."""
    taken: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        order = (with_it, without) if number % 2 else (without, with_it)
        seconds = {action: spent(action) for action in order}
        taken.append((seconds[with_it], seconds[without]))
    taken = taken[1:]  # the first round warms up
    ratio = [one / other for one, other in taken]
    first, _, third = statistics.quantiles(ratio, n=4)
    return {
        "with": statistics.median(one for one, _ in taken),
        "without": statistics.median(other for _, other in taken),
        "ratio": statistics.median(ratio),
        "ratio_quartiles": [first, third],
    }


def spent(action: Action) -> float:
    """Return the processor seconds of an action."""
    begun = time.process_time()
    for _ in range(REPEATS):
        action()
    return (time.process_time() - begun) / REPEATS


def pairs(folder: Path) -> Iterator[tuple[str, Action, Action]]:
    """Yield the name of a check, the work with it, and the same work without it."""
    yield of_checkpoint(folder)
    yield of_record(folder)
    yield of_gzip(folder)
    yield of_pickle()
    yield of_step()


def of_checkpoint(folder: Path) -> tuple[str, Action, Action]:
    """Return the reading of a checkpoint of 13 MB."""
    path, buffer = folder / "checkpoint.pt", io.BytesIO()
    torch.save(nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(3))).state_dict(), buffer)
    write_sealed(path, buffer.getvalue())

    def sealed() -> object:
        return torch.load(io.BytesIO(read_sealed(path) or b""), weights_only=True)

    def plain() -> object:
        return torch.load(io.BytesIO(path.read_bytes()), weights_only=True)

    return "a checkpoint of 13 MB: its digest", sealed, plain


def of_record(folder: Path) -> tuple[str, Action, Action]:
    """Return the reading of a record of 10,000 numbers."""
    path = folder / "record.json"
    write_json(path, {"losses": [number / 7 for number in range(10_000)]})

    def plain() -> object:
        return json.loads(path.read_bytes())

    return "a record of 10,000 numbers: its digest", partial(read_json, path), plain


def of_gzip(folder: Path) -> tuple[str, Action, Action]:
    """Return the unpacking of a data file of 8 MB."""
    path = folder / "data.gz"
    path.write_bytes(
        gzip.compress(np.random.default_rng(0).integers(0, 8, 2**23, np.uint8).tobytes())
    )

    def plain() -> object:
        return gzip.decompress(path.read_bytes())

    return "a gzip file of 8 MB: its size", partial(files.read, path), plain


def of_pickle() -> tuple[str, Action, Action]:
    """Return the reading of a batch of 1,000 images of CIFAR-10."""
    images = np.random.default_rng(0).integers(0, 256, (1000, 3072), np.uint8)
    content = pickle.dumps({b"data": images, b"labels": [3] * 1000}, protocol=3)
    return (
        "a batch of 1,000 images: a pickle that is not run",
        lambda: cifar_files.batch(content, "the batch"),
        lambda: torch.from_numpy(pickle.loads(content)[b"data"].copy()),
    )


def of_step() -> tuple[str, Action, Action]:
    """Return a small step of DFA, which needs no targets."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Linear(64, 10))
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    inputs, targets = torch.randn(32, 64), torch.arange(32) % 10
    optimizer = SGD(model.parameters(), lr=0.0)

    def learn(outputs: Tensor) -> None:
        F.cross_entropy(outputs, targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    def plain() -> None:
        for _ in range(10):
            learn(model(inputs))

    def given() -> None:
        for _ in range(10):
            with handle.targets(targets):
                outputs = model(inputs)
            learn(outputs)

    return "ten steps of a small network: targets of the thread", given, plain
