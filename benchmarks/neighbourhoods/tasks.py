"""Networks to split into pieces, so small that a CPU can train many of them.

beyondprop distil --task benchmarks.neighbourhoods.tasks:fashion_convnet --jobs 2
beyondprop distil --task benchmarks.neighbourhoods.tasks:digits_convnet
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from beyondprop.tasks import Data, Split, find

WIDTHS = (12, 24, 48)
IMAGES = 10_000
BLOCKS = ("0", "1", "3", "5", "7")


def part_of_fashion(folder: Path | None) -> Data:
    """Return Fashion-MNIST with only the first 10,000 training images."""
    data = find("fashion-mlp").load(folder)
    train = Split(data.train.inputs[:IMAGES].clone(), data.train.targets[:IMAGES])
    return replace(data, train=train)


def stage(channels: int, width: int) -> nn.Sequential:
    """Return two 3 x 3 convolutions, each with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def convnet(places: int) -> nn.Module:
    """Return a network with seven convolutions, from images to 10 logits.

    Args:
        places: Positions of an image after three halvings: 9 for (28, 28), 1 for (8, 8).
    """
    layers: list[nn.Module] = [nn.Conv2d(1, WIDTHS[0], 3, padding=1)]
    channels = WIDTHS[0]
    for width in WIDTHS:
        layers += [stage(channels, width), nn.MaxPool2d(2)]
        channels = width
    head = nn.Sequential(nn.Flatten(), nn.Linear(channels * places, 10))
    return nn.Sequential(*layers, head)


fashion_convnet = replace(
    find("fashion-mlp"),
    name="fashion-convnet",
    summary="10,000 of Fashion-MNIST's articles of clothing, seven convolutions",
    load=part_of_fashion,
    model=partial(convnet, 9),
    epochs=8,
    batch_size=64,
    blocks=BLOCKS,
)
digits_convnet = replace(
    find("digits-conv"),
    name="digits-convnet",
    summary="written digits (8 x 8), seven convolutions",
    model=partial(convnet, 1),
    epochs=20,
    batch_size=32,
    blocks=BLOCKS,
)
"""So small that five budgets with one library take minutes."""
