"""Thousands of damaged files: each reads as it was written, or is refused in one sentence.

Checkpoints, packed slot machines, banks and records have digests. Published data sets are compared
with their hashes. Files of a data set without one (a user's own IDX files, the binary CIFAR-10)
cannot show a changed pixel; the result has the shape and the types of the file's header.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Adam

import beyondprop as bp
from benchmarks.faults.damages import damaged
from benchmarks.faults.tally import Tally
from benchmarks.faults.tasks import CLOUDS
from beyondprop import slots
from beyondprop.experiment import RunSpec, checkpoint, forms, train
from beyondprop.experiment.checkpoint import CHECKPOINT, TrainingState
from beyondprop.experiment.record import RECORD
from beyondprop.experiment.storage import SPEC, read_spec
from beyondprop.tasks import cifar_files, idx


@dataclass(frozen=True)
class Kind:
    """A kind of file to damage.

    Attributes:
        name: Its name.
        file: The file.
        read: A function that reads it with the library.
        holds: A function that checks the result.
    """

    name: str
    file: Path
    read: Callable[[], Any]
    holds: Callable[[Any], bool]


def attack(tally: Tally, count: int = 5000, seed: int = 0, kinds: Sequence[str] = ()) -> None:
    """Damage files of each kind, `count` in total.

    Args:
        tally: The counts.
        count: The number of damages.
        seed: The seed of the damages.
        kinds: The kinds of files to damage; by default all.
    """
    with whole() as found:
        chosen = [kind for kind in found if not kinds or kind.name in kinds]
        for place, kind in enumerate(chosen):
            damage(tally, kind, count // len(chosen) + (place < count % len(chosen)), seed)


def damage(tally: Tally, kind: Kind, count: int, seed: int) -> None:
    """Damage one file `count` times, and restore it."""
    assert kind.holds(kind.read()), f"{kind.name} does not read correctly before the damage"
    content = kind.file.read_bytes()
    for name, changed in damaged(random.Random(f"{kind.name} {seed}"), content, count):
        kind.file.write_bytes(changed)
        tally.attempt(f"{kind.name}, {name}", kind.read, kind.holds)
    kind.file.write_bytes(content)


@contextmanager
def whole() -> Iterator[list[Kind]]:
    """Yield a file of each kind in a temporary folder."""
    with TemporaryDirectory() as path:
        folder = Path(path)
        makers = (of_run, of_slots, of_bank, of_idx, of_cifar)
        yield [kind for make in makers for kind in make(folder)]


def of_run(folder: Path) -> Iterator[Kind]:
    """Yield the files of a run: its checkpoint, its record and its spec."""
    run = folder / "run"
    record = train(RunSpec(rule="dfa", epochs=2, measures=()), run, task=CLOUDS)
    del record
    expected = state_of(run)
    yield Kind(
        "checkpoint",
        run / CHECKPOINT,
        partial(state_of, run),
        lambda found: all(map(torch.equal, found, expected)),
    )
    for name, path, read in (
        ("record of a run", run / RECORD, partial(forms.read_run, run / RECORD)),
        ("spec", run / SPEC, partial(read_spec, run)),
    ):
        yield Kind(name, path, read, partial(equal, read()))


def state_of(run: Path) -> list[torch.Tensor]:
    """Return the tensors from which a run would continue."""
    model = CLOUDS.model()
    state = TrainingState(
        model, bp.attach(model, bp.DirectFeedbackAlignment()), Adam(model.parameters())
    )
    assert checkpoint.restore(run, state)
    moments = [entry["exp_avg"] for entry in state.optimizer.state.values()]
    return [*model.state_dict().values(), *moments, *state.losses]


def equal(expected: Any, found: Any) -> bool:
    """Return whether both are equal, as JSON."""
    return bool(found == expected)


def slot_network() -> nn.Module:
    """Return a small network for conversion."""
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def converted(seed: int) -> nn.Module:
    """Return the network with chosen weights."""
    torch.manual_seed(seed)
    model = slot_network()
    slots.convert(model, 4, seed=1)
    return model


def of_slots(folder: Path) -> Iterator[Kind]:
    """Yield a packed slot machine."""
    path = folder / "packed.safetensors"
    slots.pack(converted(0), path)

    def read() -> list[torch.Tensor]:
        return list(slots.load(path, slot_network()).state_dict().values())

    expected = read()
    yield Kind("packed slots", path, read, lambda found: all(map(torch.equal, found, expected)))


def of_bank(folder: Path) -> Iterator[Kind]:
    """Yield the file of one of two tasks in a bank."""
    model = converted(0)
    bank = slots.bank(model)
    bank.keep("a")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.dim() < 2:
                parameter.add_(1)
    bank.keep("b")
    bank.save(folder / "bank")

    def read() -> list[torch.Tensor]:
        fresh = converted(0)
        slots.load_bank(folder / "bank", fresh).use("a")
        return list(fresh.state_dict().values())

    expected, path = read(), folder / "bank" / "task-a.safetensors"
    yield Kind("bank", path, read, lambda found: all(map(torch.equal, found, expected)))


def of_idx(folder: Path) -> Iterator[Kind]:
    """Yield an IDX file with a published hash, and files without one, compressed and plain."""
    values = np.random.default_rng(0).integers(0, 256, (12, 7, 7), np.uint8)
    content = bytes([0, 0, 8, 3]) + struct.pack(">3I", *values.shape) + values.tobytes()
    digest = hashlib.sha256(content).hexdigest()
    published, plain = folder / "published.gz", folder / "plain"
    published.write_bytes(gzip.compress(content, mtime=0))
    plain.write_bytes(content)
    yield Kind(
        "IDX, published",
        published,
        partial(idx.read, published, digest),
        lambda found: bool((found == values).all()),
    )
    yield Kind("IDX, own", plain, partial(idx.read, plain), partial(fits_header, plain))


def fits_header(path: Path, found: np.ndarray[Any, Any]) -> bool:
    """Return whether an array matches the header of an IDX file."""
    content = path.read_bytes()
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    kind = np.dtype(idx.DTYPES[content[2]])
    values = np.frombuffer(content, kind, offset=4 + 4 * content[3]).reshape(shape)
    return found.shape == shape and found.tobytes() == values.astype(found.dtype).tobytes()


def of_cifar(folder: Path) -> Iterator[Kind]:
    """Yield a batch of CIFAR-10 as a pickle with and without a published hash, and as binary."""
    images = np.random.default_rng(0).integers(0, 256, (4, 3072), np.uint8)
    labels = [3, 1, 4, 1]
    content = pickle.dumps({b"data": images, b"labels": labels}, protocol=3)
    digest = hashlib.sha256(content).hexdigest()
    own, binary = folder / "batch", folder / "batch.bin"
    own.write_bytes(content)
    pairs = zip(labels, images, strict=True)
    binary.write_bytes(b"".join(bytes([k]) + row.tobytes() for k, row in pairs))

    def published() -> Any:
        return cifar_files.batch(cifar_files.files.read(own, digest), "the batch")

    def as_written(found: cifar_files.Images) -> bool:
        return bool((found.images.numpy().reshape(4, 3072) == images).all()) and (
            found.labels.tolist() == labels
        )

    yield Kind("CIFAR-10, published", own, published, as_written)
    yield Kind(
        "CIFAR-10, own", own, lambda: cifar_files.batch(own.read_bytes(), "the batch"), are_images
    )
    yield Kind(
        "CIFAR-10, binary",
        binary,
        lambda: cifar_files.binary_batch(binary.read_bytes(), "the batch"),
        are_images,
    )


def are_images(found: cifar_files.Images) -> bool:
    """Return whether these are images with one class each."""
    shaped = found.images.shape == (len(found.labels), *cifar_files.IMAGE)
    return shaped and bool(found.labels.ge(0).all() and found.labels.lt(10).all())
