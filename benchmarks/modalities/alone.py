"""The work of `workers`: sub-networks of two modalities, with the library and with plain PyTorch.

python -m benchmarks.modalities.alone --epochs 1 --jobs 2 --folder runs/alone
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn

from benchmarks.common.command_line import command_line
from beyondprop.jobs import Workers
from beyondprop.modalities import Attention, MultimodalNetwork, SubNetwork, pretrain
from beyondprop.models.encoders import pictures
from beyondprop.pieces.training import Recipe

NAMES = ("left", "right")
"""Both take equally long, so that the work can be divided evenly."""
SAMPLES, HELD, BATCH, CLASSES, WIDTH = 2048, 256, 64, 10, 32


class Pairs:
    """Random pictures of both modalities ``(n, 1, 28, 28)``, with classes, in batches."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = {name: torch.randn(count, 1, 28, 28, generator=generator) for name in NAMES}
        self.targets = torch.randint(CLASSES, (count,), generator=generator)

    def __len__(self) -> int:
        return len(self.targets) // BATCH

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        for start in range(0, len(self.targets), BATCH):
            rows = slice(start, start + BATCH)
            yield {name: x[rows] for name, x in self.inputs.items()}, self.targets[rows]


def head(width: int) -> nn.Module:
    """Return the temporary head of a sub-network."""
    return nn.Linear(width, CLASSES)


def network() -> MultimodalNetwork:
    """Return the untrained network."""
    torch.manual_seed(0)
    fusion = Attention(dict.fromkeys(NAMES, WIDTH), WIDTH)
    encoders = {name: pictures(1, 28, WIDTH) for name in NAMES}
    return MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, CLASSES))


def library(epochs: int, jobs: int, folder: Path) -> None:
    """Train both sub-networks with the library; both train to the last epoch."""
    pretrain(
        network(),
        Pairs(SAMPLES, seed=1),
        Pairs(HELD, seed=2),
        nn.functional.cross_entropy,
        head,
        folder,
        recipe=Recipe(epochs=epochs, batch_size=BATCH),
        patience=epochs,
        workers=Workers(jobs=jobs),
        progress=Progress(disable=True),
    )


def plain(epochs: int, first: int, step: int) -> None:
    """Train every `step`-th sub-network with plain PyTorch."""
    whole, data, held = network(), Pairs(SAMPLES, seed=1), Pairs(HELD, seed=2)
    for name in NAMES[first::step]:
        project = nn.Linear(WIDTH, WIDTH)
        taught(SubNetwork(whole.encoders[name], project, head(WIDTH)), name, data, held, epochs)


def taught(model: nn.Module, name: str, data: Pairs, held: Pairs, epochs: int) -> None:
    """Train a sub-network with Adam, and evaluate it after each epoch."""
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), nn.functional.cross_entropy
    for _ in range(epochs):
        for inputs, targets in data:
            optimizer.zero_grad()
            loss(model(inputs[name]), targets).backward()
            optimizer.step()
        with torch.no_grad():
            sum(loss(model(inputs[name]), targets).item() for inputs, targets in held)


def main(
    epochs: int = 1, jobs: int = 1, folder: Path | None = None, first: int = 0, step: int = 1
) -> None:
    """Train sub-networks: with the library if a folder is given, otherwise with plain PyTorch.

    Args:
        epochs: Passes over the pictures.
        jobs: The number of the library's processes.
        folder: The library's folder.
        first: The first sub-network of plain PyTorch.
        step: The step to the next sub-network of plain PyTorch.
    """
    torch.set_num_threads(1)
    if folder is not None:
        library(epochs, jobs, folder)
    else:
        plain(epochs, first, step)


if __name__ == "__main__":
    command_line(main)
