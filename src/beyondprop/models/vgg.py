"""The VGG of the local-loss paper, for 32 x 32 images.

Nøkland and Eidnes, "Training neural networks with local error signals", 2019: VGG8b.
"""

import torch
from torch import nn

LAYERS = (128, 256, "M", 256, 512, "M", 512, "M", 512, "M")
"""Channels of the 3 x 3 convolutions; "M" halves the maps by max pooling."""

HIDDEN = 1024
CLASSES = 10


def vgg8b(narrower: int = 1) -> nn.Module:
    """Return a network from images (3, 32, 32) to 10 logits by six convolutions and one hidden
    layer.

    Batch normalisation and ReLU follow each layer, as in the paper. The paper's loss is before the
    pooling, here it is after it, as a block ends where the next one begins.

    Args:
        narrower: Divides every width.
    """
    layers: list[nn.Module] = []
    channels, side = 3, 32
    for layer in LAYERS:
        if isinstance(layer, str):
            layers.append(nn.MaxPool2d(2))
            side //= 2
            continue
        width = layer // narrower
        layers += [
            nn.Conv2d(channels, width, kernel_size=3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        channels = width
    hidden = HIDDEN // narrower
    return nn.Sequential(
        *layers,
        # Outside this block, flattening would join the previous one and hide its maps.
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * side**2, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
        ),
        nn.Linear(hidden, CLASSES),
    )


def vgg8b_narrow() -> nn.Module:
    """VGG8b at an eighth of its width, which trains on a CPU."""
    # On a CPU this reduces the time of its narrow convolutions to two thirds.
    model: nn.Module = vgg8b(narrower=8).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model
