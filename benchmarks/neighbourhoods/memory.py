"""Peak memory of training one part of a network, compared with end-to-end distillation.

    python -m benchmarks.neighbourhoods.memory

A student of one block of a ResNet-20 learns from files that the teacher wrote, or from the teacher
itself, which runs only up to the block, without gradients. Alone: the same student with plain
PyTorch and one batch in memory, which is the minimum for training it. Every figure comes from a
fresh process, and includes everything in the training: the teacher or its piece, the student, its
optimizer, the data read, and activations.
"""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from benchmarks.neighbourhoods import tables
from beyondprop.measure import Step, peak_memory
from beyondprop.models.resnet import resnet20
from beyondprop.neighbourhoods import (
    Activations,
    Cache,
    Neighbourhood,
    Recipe,
    SoftLabels,
    Streamed,
    calls,
    capture,
    heal,
    split,
    teach,
)
from beyondprop.neighbourhoods.candidates import Narrower

BATCHES, SHARD_MIB = 2, 16.0
HALF = Narrower(0.5)
HIDDEN = Progress(disable=True)


def network() -> nn.Module:
    """Return the teacher."""
    torch.manual_seed(0)
    return resnet20().eval()


def images(batch: int) -> list[Tensor]:
    """Return batches of images, ``(batch, 3, 32, 32)`` each."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 3, 32, 32, generator=generator) for _ in range(BATCHES)]


def part_of(teacher: nn.Module, block: str) -> Neighbourhood:
    """Return a block as a neighbourhood."""
    (part,) = split(teacher, [block])
    return part


def learn(piece: nn.Module, sample: Any, activations: Activations, batch: int) -> None:
    """Build a student of a piece and train it for one pass."""
    own = copy.deepcopy(piece)  # counts, unlike what was built before
    teach(HALF.build(own, sample), activations, Recipe(1, batch), HIDDEN, "student")


def cached(block: str, batch: int) -> Step:
    """Return training from files."""
    teacher, data = network(), images(batch)
    part = part_of(teacher, block)
    cache = Cache(shard_mib=SHARD_MIB)
    seen = capture(teacher, [part], data, Path(mkdtemp()), cache)[part.name]
    piece, sample = copy.deepcopy(part.piece(teacher)), seen.layout.sample
    return lambda: learn(piece, sample, seen, batch)


def streamed(block: str, batch: int) -> Step:
    """Return training from the teacher, whose weights count."""
    teacher, data = network(), images(batch)
    part = part_of(teacher, block)
    sample = calls(teacher, [part], data[0][:1])[part.name]

    def step() -> None:
        own = copy.deepcopy(teacher)
        learn(part.piece(own), sample, Streamed(own, part, data), batch)

    return step


def alone(block: str, batch: int) -> Step:
    """Return training with plain PyTorch from one batch."""
    teacher, data = network(), images(batch)
    part = part_of(teacher, block)
    call = calls(teacher, [part], data[0])[part.name]
    sample = calls(teacher, [part], data[0][:1])[part.name]
    piece = copy.deepcopy(part.piece(teacher))

    def step() -> None:
        student = HALF.build(copy.deepcopy(piece), sample).train()
        optimizer = torch.optim.Adam(student.parameters(), 1e-3)
        for _ in range(BATCHES):
            optimizer.zero_grad()
            nn.functional.mse_loss(call.of(student), call.output).backward()
            optimizer.step()

    return step


def end_to_end(block: str, batch: int) -> Step:
    """Return training of the complete network with a smaller block, on the teacher's outputs."""
    teacher, data = network(), images(batch)
    part = part_of(teacher, block)
    sample = calls(teacher, [part], data[0][:1])[part.name]

    def step() -> None:
        own = copy.deepcopy(teacher)
        model = copy.deepcopy(own)
        part.put(model, HALF.build(part.piece(own), sample))
        with torch.no_grad():
            outputs = [own(inputs) for inputs in data]
        pairs = list(zip(data, outputs, strict=True))
        heal(model, pairs, SoftLabels(), Recipe(1, batch), HIDDEN)

    return step


WAYS: dict[str, Callable[[str, int], Step]] = {
    "from files": cached,
    "streamed": streamed,
    "alone, plain PyTorch": alone,
    "end to end": end_to_end,
}


def main(
    blocks: tuple[str, ...] = ("layers.0", "layers.4", "layers.8"),
    batch: int = 256,
    output: Path = Path("results/neighbourhoods/memory.json"),
) -> None:
    """Measure peak memory of training a student of each block.

    Args:
        blocks: Blocks of a ResNet-20.
        batch: Images per step.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    set_threads(1)
    rows = [measured(block, way, batch) for block in blocks for way in WAYS]
    spec = {"blocks": blocks, "batch": batch, "shard_mib": SHARD_MIB}
    save("neighbourhoods/memory", spec, rows, table(rows), started, output)


def measured(block: str, way: str, batch: int) -> dict[str, Any]:
    """Return the peak memory of one way to train a block's student."""
    peak = peak_memory(partial(WAYS[way], block, batch))
    return {"block": block, "way": way, "megabytes": peak.bytes / 1e6, "method": peak.method}


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    return Table(
        "Peak memory of training a part of a ResNet-20",
        *tables.memory(rows),
        notes=(
            "MB: peak increase of memory in a fresh process. The teacher or its piece, the "
            "student, its optimizer, the data read and the activations count. Files are read in "
            f"shards of {SHARD_MIB:g} MiB, at most two at a time. Alone: one batch in memory. End "
            "to end: the whole network with that block at half its width.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
