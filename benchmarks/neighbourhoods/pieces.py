"""The work of `workers`: students of a ResNet-20, with the library, and with plain PyTorch only.

python -m benchmarks.neighbourhoods.pieces --epochs 1 --jobs 2 --folder runs/pieces
"""

from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn

from benchmarks.common.command_line import command_line
from beyondprop.jobs import Workers
from beyondprop.models.resnet import resnet20
from beyondprop.neighbourhoods import Call, Neighbourhood, Recipe, calls, distil, layouts, split
from beyondprop.neighbourhoods.candidates import Narrower

BLOCKS = ("layers.0", "layers.1", "layers.2")
CANDIDATES = {"first": Narrower(0.5), "second": Narrower(0.5)}
"""All students take equally long, so that the work can be divided evenly."""
SAMPLES, BATCH = 1024, 64


def network() -> nn.Module:
    """Return the teacher."""
    torch.manual_seed(0)
    return resnet20().eval()


def images() -> list[Tensor]:
    """Return batches of images, ``(BATCH, 3, 32, 32)`` each."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(BATCH, 3, 32, 32, generator=generator) for _ in range(SAMPLES // BATCH)]


def library(epochs: int, jobs: int, folder: Path) -> None:
    """Train all students with the library."""
    teacher = network()
    distil(
        teacher,
        split(teacher, list(BLOCKS)),
        images(),
        folder,
        CANDIDATES,
        recipe=Recipe(epochs=epochs, batch_size=BATCH),
        workers=Workers(jobs=jobs),
        progress=Progress(disable=True),
    )


def plain(epochs: int, first: int, step: int) -> None:
    """Train every `step`-th student with plain PyTorch, from activations in memory."""
    teacher, data = network(), images()
    parts = split(teacher, list(BLOCKS))
    wanted = [(part, candidate) for part in parts for candidate in CANDIDATES.values()]
    for part, candidate in wanted[first::step]:
        sample = layouts(teacher, [part], data[0])[part.name].sample
        student = candidate.build(part.piece(teacher), sample)
        taught(student, seen(teacher, part, data), epochs)


def seen(teacher: nn.Module, part: Neighbourhood, data: list[Tensor]) -> list[Call]:
    """Return the inputs and outputs of a part for each batch."""
    return [calls(teacher, [part], batch)[part.name] for batch in data]


def taught(student: nn.Module, data: list[Call], epochs: int) -> None:
    """Train a student with Adam on the mean squared error."""
    optimizer = torch.optim.Adam(student.train().parameters(), 1e-3)
    for _ in range(epochs):
        for call in data:
            optimizer.zero_grad()
            nn.functional.mse_loss(call.of(student), call.output).backward()
            optimizer.step()


def main(
    epochs: int = 1, jobs: int = 1, folder: Path | None = None, first: int = 0, step: int = 1
) -> None:
    """Train students: with the library if a folder is given, otherwise with plain PyTorch.

    Args:
        epochs: Passes over the images.
        jobs: The number of the library's processes.
        folder: The library's folder.
        first: The first student of plain PyTorch.
        step: The step to the next student of plain PyTorch.
    """
    torch.set_num_threads(1)
    if folder is not None:
        library(epochs, jobs, folder)
    else:
        plain(epochs, first, step)


if __name__ == "__main__":
    command_line(main)
